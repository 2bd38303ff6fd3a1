package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/colinmarc/hdfs/v2"
	"github.com/divisi-data/divisi/storage"
)

// errNotFolder says that something above a name is a file.
var errNotFolder = storage.Invalid(errors.New("something above it is a file and no folder"))

// final is an error that no waiting changes, whatever it wraps.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// meanings of the NameNode's exceptions, by the last part of the class's name.
var meanings = map[string]error{
	"FileNotFoundException":               storage.ErrNotExist,
	"AccessControlException":              storage.ErrPermission,
	"FileAlreadyExistsException":          storage.ErrExist,
	"PathIsNotEmptyDirectoryException":    syscall.ENOTEMPTY,
	"ParentNotDirectoryException":         errNotFolder,
	"LeaseExpiredException":               storage.ErrGone,
	"QuotaExceededException":              syscall.EDQUOT,
	"NSQuotaExceededException":            syscall.EDQUOT,
	"DSQuotaExceededException":            syscall.EDQUOT,
	"QuotaByStorageTypeExceededException": syscall.EDQUOT,
	"StandbyException":                    storage.ErrTransient,
	"RetriableException":                  storage.ErrTransient,
	"SafeModeException":                   storage.ErrTransient,
	"NotReplicatedYetException":           storage.ErrTransient,
	"ObserverRetryOnActiveException":      storage.ErrTransient,
	"ServerTooBusyException":              storage.ErrTransient,
	"UnregisteredNodeException":           storage.ErrTransient,
}

// interpret puts a NameNode's exception into the words of the storage package.
func interpret(err error) error {
	var remote hdfs.Error // no error by its own type, so errors.AsType does not take it
	if !errors.As(err, &remote) {
		return err
	}
	class := remote.Exception()[strings.LastIndexByte(remote.Exception(), '.')+1:]
	said, _, _ := strings.Cut(remote.Message(), "\n")
	said = strings.TrimSpace(said)
	if said == "" {
		said = class
	}
	meaning := meanings[class]
	switch {
	case meaning == storage.ErrPermission && strings.Contains(said, "not a directory"):
		meaning = errNotFolder
	case class == "IOException" && remote.Method() == "addBlock":
		meaning = storage.ErrTransient // too few DataNodes can be written to now
	case class == "RemoteException" && strings.Contains(said, "Retriable"):
		meaning = storage.ErrTransient
	}
	if meaning == nil {
		return final{fmt.Errorf("NameNode: %s: %s: %s", remote.Method(), class, said)}
	}
	return fmt.Errorf("%w (NameNode: %s)", meaning, said)
}

// passing reports whether an error may pass: whatever is no answer about the file
// itself. The library's errors about connections carry no type.
func passing(err error) bool {
	if errors.Is(err, storage.ErrTransient) {
		return true
	}
	if _, ok := errors.AsType[final](err); ok {
		return false
	}
	for _, answer := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid, fs.ErrClosed, syscall.ENOTEMPTY, syscall.EDQUOT,
		errNotFolder, storage.ErrGone, ErrEncrypted, ErrErasureCoded, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, answer) {
			return false
		}
	}
	return true
}
