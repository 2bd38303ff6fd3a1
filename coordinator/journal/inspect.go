package journal

import (
	"os"
	"path/filepath"
	"strings"
)

// Inspect is Read for people. path is a journal's folder or one file, which is taken for
// a snapshot if its name begins like one, and for a log otherwise. It returns what the
// next start would cut away, nil for nothing, and fails with an *ErrJournalCorrupt.
func Inspect(path string, each func(Record) error) (cut *Cut, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	dir := path
	if !info.IsDir() {
		dir = filepath.Dir(path)
	}
	d, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	defer d.close()
	r := reader{d: d, cut: func(c Cut) { cut = &c }, each: each}
	if info.IsDir() {
		_, err = r.all()
		return cut, err
	}
	return cut, r.file(filepath.Base(path))
}

// file reads one, whatever lies beside it.
func (r *reader) file(name string) error {
	f, err := r.d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	o := opened{segment{name: name}, f}
	if _, seq, ok := parseName(name); ok {
		o.seq = seq
	} else {
		var head [headerBytes]byte
		n, _ := f.ReadAt(head[:], 0) // less is not enough, and the reason does not matter
		if o.seq, err = parseHeader(head[:n]); err != nil {
			return r.corrupt(o, 0, err.Error())
		}
	}
	if strings.HasPrefix(name, snapPrefix) {
		_, err = r.snapshot(o)
	} else {
		_, err = r.logged(o, true)
	}
	return err
}
