package sequencefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/codec"
)

const (
	version     = 6
	syncBytes   = 16
	nameMax     = 64 << 10 // of a class, and of the metadata's texts
	metadataMax = 10_000
	codecPrefix = "org.apache.hadoop.io.compress."
)

// codecs by the names of Hadoop's classes; the first of several is written.
var codecs = []struct {
	class string
	codec codec.Codec
}{
	{"DefaultCodec", codec.Deflate}, {"DeflateCodec", codec.Deflate}, {"GzipCodec", codec.Gzip}, {"BZip2Codec", codec.Bzip2},
	{"SnappyCodec", codec.Snappy}, {"Lz4Codec", codec.Lz4}, {"ZStandardCodec", codec.Zstd},
}

// header is what a file says about itself.
type header struct {
	key, value string // classes
	compressed bool
	blocks     bool
	codec      codec.Codec
	metadata   [][2]string
	sync       [syncBytes]byte
	end        int64 // where the first record or block begins
}

// file is a file whose header is read.
type file struct {
	random *files.RandomReader
	seq    *files.Sequential
	head   header
}

func open(in *files.Input) (*file, error) {
	random, err := files.NewRandomReader("sequencefile.Read", in)
	if err != nil {
		return nil, err
	}
	f := &file{random: random, seq: files.NewSequential(random, 0)}
	return f, random.Guard("sequencefile.Read", func() error {
		err := f.readHeader()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
}

func (f *file) readHeader() error {
	var magic [4]byte
	if _, err := io.ReadFull(f.seq, magic[:]); err != nil {
		return err
	}
	if string(magic[:3]) != "SEQ" {
		return fmt.Errorf("it begins with %q instead of %q", magic[:3], "SEQ")
	}
	if magic[3] != version {
		return fmt.Errorf("it is of version %d, only %d is read", magic[3], version)
	}
	h := &f.head
	for _, s := range []*string{&h.key, &h.value} {
		var err error
		if *s, err = readText(f.seq); err != nil {
			return err
		}
		if _, ok := classes[*s]; !ok {
			return fmt.Errorf("it holds values of class %s (have %s)", *s, classNames())
		}
	}
	for _, b := range []*bool{&h.compressed, &h.blocks} {
		c, err := f.seq.ReadByte()
		if err != nil {
			return err
		}
		if c > 1 {
			return fmt.Errorf("its header has %d where 0 or 1 belongs", c)
		}
		*b = c == 1
	}
	if h.blocks && !h.compressed {
		return errors.New("its header says that it has blocks and is not compressed")
	}
	if h.compressed {
		name, err := readText(f.seq)
		if err != nil {
			return err
		}
		if h.codec, err = codecOf(name); err != nil {
			return f.random.Unsupported("sequencefile.Read", err, "write the file with another codec, such as org.apache.hadoop.io.compress.DefaultCodec")
		}
	}
	if err := f.readMetadata(); err != nil {
		return err
	}
	_, err := io.ReadFull(f.seq, h.sync[:])
	h.end = f.seq.Pos()
	return err
}

func codecOf(class string) (codec.Codec, error) {
	for _, c := range codecs {
		if class == codecPrefix+c.class {
			return c.codec, nil
		}
	}
	return "", fmt.Errorf("what the codec %s compresses is not read", class)
}

func (f *file) readMetadata() error {
	var count [4]byte
	if _, err := io.ReadFull(f.seq, count[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(count[:])
	if n > metadataMax {
		return fmt.Errorf("it claims %d entries of metadata", n)
	}
	for range n {
		var pair [2]string
		for i := range pair {
			var err error
			if pair[i], err = readText(f.seq); err != nil {
				return err
			}
		}
		f.head.metadata = append(f.head.metadata, pair)
	}
	return nil
}

func readText(r *files.Sequential) (string, error) {
	n, err := readVLong(r)
	if err != nil {
		return "", err
	}
	if n < 0 || n > nameMax {
		return "", fmt.Errorf("its header has a text of %d bytes", n)
	}
	b, err := r.Bytes(nil, n)
	return string(b), err
}

func (h *header) schema() *arrow.Schema {
	field := func(name, c string) arrow.Field {
		return arrow.Field{Name: name, Type: classes[c].typ, Nullable: classes[c].typ.ID() == arrow.NULL}
	}
	return arrow.NewSchema([]arrow.Field{field("key", h.key), field("value", h.value)}, nil)
}

// write is the header's bytes.
func (h *header) write() []byte {
	b := append([]byte("SEQ"), version)
	text := func(s string) { b = append(appendVLong(b, int64(len(s))), s...) }
	text(h.key)
	text(h.value)
	flag := func(on bool) {
		if on {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	flag(h.compressed)
	flag(h.blocks)
	if h.compressed {
		i := slices.IndexFunc(codecs, func(c struct {
			class string
			codec codec.Codec
		}) bool {
			return c.codec == h.codec
		})
		text(codecPrefix + codecs[i].class)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.metadata)))
	for _, pair := range h.metadata {
		text(pair[0])
		text(pair[1])
	}
	return append(b, h.sync[:]...)
}

func codecNames() string {
	var names []string
	for _, c := range codecs {
		if !slices.Contains(names, string(c.codec)) {
			names = append(names, string(c.codec))
		}
	}
	return strings.Join(names, ", ")
}
