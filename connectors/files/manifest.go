package files

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// The two small files of a commit, see docs/format/manifest.md. Both begin with a
// line that holds a checksum of what follows. What version 1 wrote has no such line
// and is still read: a manifest then begins with a brace, a turn is a bare name.
const (
	manifestMagic = "#divisi manifest 2"
	turnMagic     = "#divisi turn 2"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type manifest struct {
	Version int              `json:"version"`
	Job     string           `json:"job"`
	Base    int              `json:"base,omitempty"`
	Parts   []storage.Sealed `json:"parts"`
	Delete  []string         `json:"delete,omitempty"` // visible before, not among Parts
}

// checked puts the line with length and checksum before body.
func checked(magic string, body []byte) []byte {
	return append(fmt.Appendf(nil, "%s crc32c %08x bytes %d\n", magic, crc32.Checksum(body, castagnoli), len(body)), body...)
}

// unchecked is the body of what checked made, compared whole: the line has one
// spelling only.
func unchecked(magic string, raw []byte) ([]byte, error) {
	line, body, whole := bytes.Cut(raw, []byte("\n"))
	if !whole || !bytes.HasPrefix(line, []byte(magic+" ")) {
		return nil, fmt.Errorf("it does not begin with the line %q of this version: it is damaged, cut short, or of a newer release", magic)
	}
	if !bytes.Equal(checked(magic, body), raw) {
		return nil, fmt.Errorf("%w: its first line is %q, computed %08x of %d bytes", dataflow.ErrChecksum, line, crc32.Checksum(body, castagnoli), len(body))
	}
	return body, nil
}

func (m *manifest) encode() ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return checked(manifestMagic, body), nil
}

func decodeManifest(raw []byte) (*manifest, error) {
	version, body := 1, raw
	if !bytes.HasPrefix(raw, []byte("{")) {
		var err error
		if body, err = unchecked(manifestMagic, raw); err != nil {
			return nil, err
		}
		version = 2
	}
	var m manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	if m.Version != version {
		return nil, fmt.Errorf("it says version %d inside and %d outside", m.Version, version)
	}
	if m.Job == "" {
		return nil, fmt.Errorf("it names no job")
	}
	return &m, nil
}

func encodeTurn(job string) []byte { return checked(turnMagic, []byte(job)) }

// decodeTurn is the job that has its turn. A bare name is what version 1 wrote; no
// damage of one byte and no cut makes one of what this version writes.
func decodeTurn(raw []byte) (job string, err error) {
	body := raw
	if bytes.HasPrefix(raw, []byte("#")) || bytes.ContainsAny(raw, " \n") {
		if body, err = unchecked(turnMagic, raw); err != nil {
			return "", err
		}
	}
	if len(body) == 0 {
		return "", fmt.Errorf("it is empty")
	}
	return string(body), nil
}

// damaged says what is known of a file of the commit that cannot be believed.
func damaged(path string, err error) error {
	return &dataflow.Error{Op: "files.Publish", Path: path, Kind: dataflow.Corrupt, Err: err,
		Try: "if the job that wrote it has ended for good, remove the file and run the job again with another output, or with replace"}
}

// InspectManifest prints a file of a commit, _manifest or _manifest-JOB, for people,
// after its checksum was compared. A damaged one is an error of kind Corrupt; name
// is for messages.
func InspectManifest(w io.Writer, name string, raw []byte) error {
	if job, err := decodeTurn(raw); err == nil && !strings.HasPrefix(job, "{") {
		_, err = fmt.Fprintf(w, "turn of job %s\n%s\n", job, believed(raw))
		return err
	} else if bytes.HasPrefix(raw, []byte(turnMagic)) {
		return damaged(name, err)
	}
	m, err := decodeManifest(raw)
	if err != nil {
		return damaged(name, err)
	}
	var size int64
	for _, p := range m.Parts {
		fmt.Fprintf(w, "publish %s  %d bytes  crc32c %08x\n", printable(p.Name), p.Size, p.CRC32)
		size += p.Size
	}
	for _, d := range m.Delete {
		fmt.Fprintf(w, "delete  %s\n", printable(d))
	}
	_, err = fmt.Fprintf(w, "job %s, version %d: %d parts from number %d, %d bytes, %d to delete\n%s\n",
		printable(m.Job), m.Version, len(m.Parts), m.Base, size, len(m.Delete), believed(raw))
	return err
}

func believed(raw []byte) string {
	if bytes.HasPrefix(raw, []byte("#")) {
		return "checksum right"
	}
	return "version 1: there is no checksum"
}

// printable is a name without what moves a terminal's cursor.
func printable(s string) string {
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}
