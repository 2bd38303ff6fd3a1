package streaming

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
)

// None is the reducer of a job that ends with its mappers.
const None = "NONE"

// A Spec is a streaming job. The zero value of a field is Hadoop's default.
type Spec struct {
	Inputs []string `json:"inputs"` // files, folders and globs
	Output string   `json:"output"` // a folder
	// Mapper, Combiner and Reducer are commands, as a user writes them; "" passes lines
	// on as they are. The reducer may be None, or "aggregate".
	Mapper   string `json:"mapper,omitempty"`
	Combiner string `json:"combiner,omitempty"`
	Reducer  string `json:"reducer,omitempty"`
	// Reduces is the number of reducers; 0 ends the job with the mappers.
	Reduces int `json:"reduces"`
	// ByFields partitions by fields of the key and not by the whole of it.
	ByFields bool `json:"by_fields,omitempty"`
	// KeyValueInput takes input lines apart at the first separator.
	KeyValueInput bool       `json:"key_value_input,omitempty"`
	Properties    []Property `json:"properties,omitempty"` // of -D, in order; the last of a name counts
	CmdEnv        []Property `json:"cmdenv,omitempty"`
	Files         []File     `json:"files,omitempty"`
	Verbose       bool       `json:"-"`
}

// A Property is a name and its value.
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A File is shipped from the machine that submits; programs find it by its name.
type File struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// Names of the properties that mean something here; all others are in the programs'
// environment and nowhere else.
const (
	jobName           = "mapreduce.job.name"
	jobReduces        = "mapreduce.job.reduces"
	mapOutSeparator   = "stream.map.output.field.separator"
	mapOutKeyFields   = "stream.num.map.output.key.fields"
	mapInSeparator    = "stream.map.input.field.separator"
	reduceInSeparator = "stream.reduce.input.field.separator"
	redOutSeparator   = "stream.reduce.output.field.separator"
	redOutKeyFields   = "stream.num.reduce.output.key.fields"
	exitIsFailure     = "stream.non.zero.exit.is.failure"
	keySeparator      = "mapreduce.map.output.key.field.separator"
	partitionOptions  = "mapreduce.partition.keypartitioner.options"
	partitionFields   = "num.key.fields.for.partition"
	partitionerClass  = "mapreduce.job.partitioner.class"
	comparatorOptions = "mapreduce.partition.keycomparator.options"
	comparatorClass   = "mapreduce.job.output.key.comparator.class"
	textSeparator     = "mapreduce.output.textoutputformat.separator"
	inputSeparator    = "mapreduce.input.keyvaluelinerecordreader.key.value.separator"
	compressOutput    = "mapreduce.output.fileoutputformat.compress"
	compressCodec     = "mapreduce.output.fileoutputformat.compress.codec"
	inputRecursive    = "mapreduce.input.fileinputformat.input.dir.recursive"
	ignoreKey         = "stream.map.input.ignoreKey"
)

// formerly are names that were used before those above.
var formerly = map[string]string{
	"mapred.job.name":                     jobName,
	"mapred.reduce.tasks":                 jobReduces,
	"map.output.key.field.separator":      keySeparator,
	"mapred.text.key.partitioner.options": partitionOptions,
	"mapred.partitioner.class":            partitionerClass,
	"mapreduce.partitioner.class":         partitionerClass,
	"mapred.text.key.comparator.options":  comparatorOptions,
	"mapred.output.key.comparator.class":  comparatorClass,
	"mapred.textoutputformat.separator":   textSeparator,
	"key.value.separator.in.input.line":   inputSeparator,
	"mapred.output.compress":              compressOutput,
	"mapred.output.compression.codec":     compressCodec,
	"mapred.input.dir.recursive":          inputRecursive,
}

// property is the last value of a name, or of a former one of it.
func (s *Spec) property(name string) (string, bool) {
	for i := len(s.Properties) - 1; i >= 0; i-- {
		p := s.Properties[i]
		if now, ok := formerly[p.Name]; ok {
			p.Name = now
		}
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// Name is what the job is called: the property, or "streaming".
func (s *Spec) Name() string {
	if n, ok := s.property(jobName); ok && n != "" {
		return n
	}
	return "streaming"
}

// separator is a property that separates something, a tab unless it is set.
func (s *Spec) separator(name string) (string, error) {
	v, ok := s.property(name)
	if !ok {
		return "\t", nil
	}
	if v == "" || strings.Contains(v, "\n") {
		return "", fmt.Errorf("-D %s=%q: a separator is not empty and holds no line end", name, v)
	}
	return v, nil
}

func (s *Spec) number(name string, least, otherwise int) (int, error) {
	v, ok := s.property(name)
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least {
		return 0, fmt.Errorf("-D %s=%s: want a number from %d on", name, v, least)
	}
	return n, nil
}

func (s *Spec) truth(name string, otherwise bool) (bool, error) {
	switch v, ok := s.property(name); {
	case !ok:
		return otherwise, nil
	case strings.EqualFold(v, "true"):
		return true, nil
	case strings.EqualFold(v, "false"):
		return false, nil
	default:
		return false, fmt.Errorf("-D %s=%s: want true or false", name, v)
	}
}

// class is the last part of a Java class's name.
func class(name string) string { return name[strings.LastIndexAny(name, ".$")+1:] }

// compression is how the output's files are compressed.
func (s *Spec) compression() (dataflow.Compression, error) {
	on, err := s.truth(compressOutput, false)
	if err != nil || !on {
		return dataflow.Uncompressed, err
	}
	codec, _ := s.property(compressCodec)
	switch class(codec) {
	case "GzipCodec":
		return dataflow.Gzip, nil
	case "ZStandardCodec":
		return dataflow.Zstd, nil
	}
	return dataflow.Uncompressed, fmt.Errorf("-D %s=true: the codec %q is not known here: set %s to one of org.apache.hadoop.io.compress.GzipCodec, ZStandardCodec", compressOutput, codec, compressCodec)
}

// environment is what all programs of the job are told, NAME=value.
func (s *Spec) environment() []string {
	var env []string
	add := func(name, value string) { env = append(env, variable(name)+"="+value) }
	add(jobName, s.Name())
	add(jobReduces, strconv.Itoa(s.Reduces))
	add("mapreduce.input.fileinputformat.inputdir", strings.Join(s.Inputs, ","))
	add("mapreduce.output.fileoutputformat.outputdir", s.Output)
	for _, p := range s.Properties {
		add(p.Name, p.Value)
		if now, ok := formerly[p.Name]; ok {
			add(now, p.Value)
		}
	}
	for _, p := range s.CmdEnv { // as they are
		env = append(env, p.Name+"="+p.Value)
	}
	return env
}

// variable is a property's name as that of a variable.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

// fileOf reads PATH or PATH#NAME.
func fileOf(arg string) (File, error) {
	at, name, named := strings.Cut(arg, "#")
	if scheme, rest, ok := strings.Cut(at, "://"); ok {
		if scheme != "file" {
			return File{}, fmt.Errorf("%s: a file is shipped from this machine: fetch it first", arg)
		}
		at = rest
	}
	if !named {
		name = path.Base(at)
	}
	if at == "" || name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
		return File{}, fmt.Errorf("%q: want PATH or PATH#NAME", arg)
	}
	return File{Name: name, Path: at}, nil
}
