package dataflow

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
)

// An error that went through text and names is what it was.
func TestErrorNames(t *testing.T) {
	err := &Error{Op: "x", Path: "y", Kind: User, Err: Mark(fmt.Errorf("%w: too long", ErrRecordTooLarge), ErrMalformed)}
	names := ErrorNames(err)
	if want := []string{"malformed", "record-too-large"}; !slices.Equal(names, want) {
		t.Fatalf("names %q, want %q", names, want)
	}
	back := NamedError(err.Error(), append(names, "of a later release"))
	if back.Error() != "x: y: record too large: too long" || !errors.Is(back, ErrRecordTooLarge) || !errors.Is(back, ErrMalformed) || errors.Is(back, ErrNoInput) || errors.Is(back, fs.ErrNotExist) {
		t.Errorf("%v comes back as %v", err, back)
	}
	if ErrorNames(nil) != nil || ErrorNames(errors.New("none")) != nil || Mark(nil, ErrMalformed) != nil {
		t.Error("nothing has a name")
	}
	defer func() {
		if recover() == nil {
			t.Error("a name is given twice")
		}
	}()
	RegisterError("malformed", errors.New("another"))
}
