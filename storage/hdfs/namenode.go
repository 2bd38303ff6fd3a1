package hdfs

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"unsafe"

	"github.com/colinmarc/hdfs/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// namenode is the client library's connection to the active NameNode. The library
// keeps it to itself and offers neither a rename that does not overwrite, nor
// where blocks are, nor pages of a listing; with it those are one call each, over
// the same connection, with the same fail-over and the same security. The types of
// the messages are found by name, for the library keeps their package to itself too.
type namenode interface {
	Execute(method string, req, resp proto.Message) error
}

// reach gets at a client's connection.
func reach(c *hdfs.Client) (namenode, error) {
	f := reflect.ValueOf(c).Elem().FieldByName("namenode")
	if f.IsValid() && f.CanAddr() {
		if n, ok := reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Interface().(namenode); ok {
			return n, nil
		}
	}
	return nil, errors.New("this binary was built with a version of the HDFS client library that this driver does not know")
}

// status is what a NameNode says of a file or folder.
type status = hdfs.FileStatus

// fields are those of a request, by name.
type fields map[protoreflect.Name]any

// call asks the NameNode and returns its answer.
func call(n namenode, method string, with fields) (protoreflect.Message, error) {
	name := protoreflect.FullName("hadoop.hdfs." + strings.ToUpper(method[:1]) + method[1:])
	req, err := message(name + "RequestProto")
	if err != nil {
		return nil, err
	}
	resp, err := message(name + "ResponseProto")
	if err != nil {
		return nil, err
	}
	for name, v := range with {
		fd := req.Descriptor().Fields().ByName(name)
		if fd == nil {
			return nil, final{fmt.Errorf("%s has no field %s", req.Descriptor().FullName(), name)}
		}
		if mode, ok := v.(os.FileMode); ok { // the only field that is a message
			perm := req.NewField(fd).Message()
			perm.Set(perm.Descriptor().Fields().ByName("perm"), protoreflect.ValueOfUint32(uint32(mode.Perm())))
			req.Set(fd, protoreflect.ValueOfMessage(perm))
			continue
		}
		req.Set(fd, protoreflect.ValueOf(v))
	}
	return resp, n.Execute(method, req.Interface(), resp.Interface())
}

func message(name protoreflect.FullName) (protoreflect.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, final{fmt.Errorf("the HDFS client library has no message %s: %w", name, err)}
	}
	return t.New(), nil
}

// field is a message's field by name.
func field(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(name))
}

// has reports whether a message has a field set.
func has(m protoreflect.Message, name protoreflect.Name) bool {
	return m.Has(m.Descriptor().Fields().ByName(name))
}

// stat fails with storage.ErrNotExist for what is not there.
func stat(n namenode, name string) (*status, error) {
	resp, err := call(n, "getFileInfo", fields{"src": name})
	if err != nil {
		return nil, err
	}
	if !has(resp, "fs") {
		return nil, os.ErrNotExist
	}
	return field(resp, "fs").Message().Interface().(*status), nil
}

// list is a page of what is in a folder, in order of bytes, and whether there is
// more.
func list(n namenode, folder, after string) ([]*status, bool, error) {
	resp, err := call(n, "getListing", fields{"src": folder, "startAfter": []byte(after), "needLocation": false})
	if err != nil {
		return nil, false, err
	}
	if !has(resp, "dirList") {
		return nil, false, os.ErrNotExist
	}
	dir := field(resp, "dirList").Message()
	page := field(dir, "partialListing").List()
	all := make([]*status, page.Len())
	for i := range all {
		all[i] = page.Get(i).Message().Interface().(*status)
	}
	return all, field(dir, "remainingEntries").Uint() > 0 && len(all) > 0, nil
}

// mkdirs makes a folder and what is missing above it; it may be there.
func mkdirs(n namenode, folder string, mode os.FileMode) error {
	_, err := call(n, "mkdirs", fields{"src": folder, "masked": mode, "createParent": true})
	return err
}

// rename moves a file, atomically.
func rename(n namenode, from, to string, overwrite bool) error {
	_, err := call(n, "rename2", fields{"src": from, "dst": to, "overwriteDest": overwrite})
	return err
}

// remove deletes and says whether something was there. A folder that is not empty
// and not to be removed recursively fails with ENOTEMPTY.
func remove(n namenode, name string, recursive bool) (bool, error) {
	resp, err := call(n, "delete", fields{"src": name, "recursive": recursive})
	if err != nil {
		return false, err
	}
	return field(resp, "result").Bool(), nil
}

const (
	isDir  = 1
	isFile = 2
)

func kind(s *status) int { return int(s.GetFileType()) }

// refused says why a file or folder is none for this driver.
func refused(s *status) error {
	switch {
	case s.GetFileEncryptionInfo() != nil || s.GetFlags()&2 != 0:
		return ErrEncrypted
	case s.GetEcPolicy() != nil || s.GetFlags()&4 != 0:
		return ErrErasureCoded
	}
	return nil
}
