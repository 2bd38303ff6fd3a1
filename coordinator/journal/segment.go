package journal

import "os"

// createLog makes an empty log durable, for records from first on. A file of the same
// name holds no record: its first would have had this number.
func (d *folder) createLog(first uint64, hook func(string) error) (*os.File, error) {
	if err := hook("before-create"); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(segmentName(logPrefix, first), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(header(first)); err == nil {
		if err = hook("before-create-sync"); err == nil {
			if err = f.Sync(); err == nil {
				err = d.sync()
			}
		}
	}
	if err == nil {
		err = hook("after-create")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
