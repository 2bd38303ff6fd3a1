//go:build !unix

package services

import (
	"context"
	"errors"
)

func lock(context.Context, string) (func(), error) {
	return nil, errors.New("servers for tests are installed on Unix only")
}
