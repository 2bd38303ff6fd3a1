package streaming

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/divisi-data/divisi/dataflow"
)

// ErrHelp is what Parse returns for -help and -info.
var ErrHelp = errors.New("help was asked for")

// An UnknownFlag is an error of Parse.
type UnknownFlag struct{ Name string }

func (u *UnknownFlag) Error() string { return "unknown flag -" + u.Name }

// A flag is one of Hadoop's.
type flag struct {
	name, value, usage string
	set                func(p *parser, v string) error
}

// refused is for flags whose meaning Divisi has not: better an error than another
// result.
func refused(why string) func(*parser, string) error {
	return func(*parser, string) error { return errors.New(why) }
}

func ignored(*parser, string) error { return nil }

var flags = []flag{
	{"input", "PATH", "file, folder or glob to read; repeated, or several with commas between", (*parser).input},
	{"output", "PATH", "folder to write, which must not exist", func(p *parser, v string) error { p.s.Output = v; return nil }},
	{"mapper", "COMMAND", "program that reads lines and prints KEY, a tab, VALUE; without it lines pass as they are", func(p *parser, v string) error { p.s.Mapper = v; return nil }},
	{"combiner", "COMMAND", "program that reduces what one task's mappers printed", func(p *parser, v string) error { p.s.Combiner = v; return nil }},
	{"reducer", "COMMAND|NONE|aggregate", "program that reads the lines in order of their keys; without it they pass sorted", func(p *parser, v string) error { p.s.Reducer = v; return nil }},
	{"numReduceTasks", "N", "number of reducers (default 1); 0 is -reducer NONE", func(p *parser, v string) error { return p.property(jobReduces + "=" + v) }},
	{"file", "PATH", "file to ship to every task, into the folder its programs run in; may be repeated", func(p *parser, v string) error { return p.ship(v) }},
	{"files", "PATH[#NAME],...", "files to ship", (*parser).ship},
	{"cacheFile", "PATH#NAME", "", (*parser).ship},
	{"cmdenv", "NAME=VALUE", "variable of the programs' environment; may be repeated", (*parser).cmdenv},
	{"D", "NAME=VALUE", "property; all are in the programs' environment too, with _ for what is no letter or digit", (*parser).property},
	{"jobconf", "NAME=VALUE", "", (*parser).property},
	{"partitioner", "CLASS", "HashPartitioner or KeyFieldBasedPartitioner, by Hadoop's name", func(p *parser, v string) error { return p.property(partitionerClass + "=" + v) }},
	{"inputformat", "CLASS", "TextInputFormat or KeyValueTextInputFormat", (*parser).inputFormat},
	{"outputformat", "CLASS", "TextOutputFormat", func(p *parser, v string) error {
		if class(v) != "TextOutputFormat" {
			return fmt.Errorf("%s is not known here (have TextOutputFormat)", v)
		}
		return nil
	}},
	{"io", "text", "", func(p *parser, v string) error {
		if v != "text" {
			return fmt.Errorf("programs are spoken to in lines (text), not in %s", v)
		}
		return nil
	}},
	{"lazyOutput", "", "", ignored}, // it is always so
	{"verbose", "", "print what the flags mean", func(p *parser, _ string) error { p.s.Verbose = true; return nil }},
	{"debug", "", "", ignored},
	{"help", "", "print this", func(*parser, string) error { return ErrHelp }},
	{"info", "", "", func(*parser, string) error { return ErrHelp }},
	{"archives", "PATH", "", refused("archives are not unpacked: ship files by -files")},
	{"cacheArchive", "PATH", "", refused("archives are not unpacked: ship files by -files")},
	{"libjars", "PATH", "", refused("there is no Java here")},
	{"inputreader", "SPEC", "", refused("records are lines: there is no other reader")},
	{"mapdebug", "COMMAND", "", refused("there are no debug programs: divisi logs shows what a program said")},
	{"reducedebug", "COMMAND", "", refused("there are no debug programs: divisi logs shows what a program said")},
	{"background", "", "", refused("a job is followed to its end: put the command in the background")},
	{"conf", "FILE", "", refused("properties are given by -D")},
	{"fs", "URI", "", refused("paths are given whole: hdfs://host:port/path")},
	{"jt", "ADDRESS", "", refused("a cluster is named by --cluster, before the flags of Hadoop")},
}

// Flags lists the names of all flags.
func Flags() []string {
	var names []string
	for _, f := range flags {
		names = append(names, f.name)
	}
	return names
}

// Usage explains the flags, a line each.
func Usage() string {
	var b strings.Builder
	for _, f := range flags {
		if f.usage != "" {
			fmt.Fprintf(&b, "  %-34s %s\n", strings.TrimSpace("-"+f.name+" "+f.value), f.usage)
		}
	}
	return b.String()
}

type parser struct {
	s        Spec
	warnings []string
}

func (p *parser) warn(format string, a ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, a...))
}

// Parse reads the flags of Hadoop Streaming. What is wrong is an error of kind User, all
// of it together; warnings are of what is accepted and means nothing.
func Parse(args []string) (s Spec, warnings []string, err error) {
	p := &parser{}
	var errs []error
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, ok := strings.CutPrefix(arg, "-")
		if !ok {
			errs = append(errs, fmt.Errorf("%q is no flag: quote a command with its arguments", arg))
			continue
		}
		if rest, ok := strings.CutPrefix(name, "D"); ok && strings.Contains(rest, "=") { // -Dname=value
			name, args = "D", append([]string{rest}, args...)
		}
		i := slices.IndexFunc(flags, func(f flag) bool { return f.name == name })
		if i < 0 {
			return Spec{}, nil, &dataflow.Error{Op: "streaming", Kind: dataflow.User, Err: &UnknownFlag{name}}
		}
		value := ""
		if flags[i].value != "" {
			if len(args) == 0 {
				errs = append(errs, fmt.Errorf("-%s needs a value: %s", name, flags[i].value))
				break
			}
			value, args = args[0], args[1:]
			if !utf8.ValidString(value) {
				errs = append(errs, fmt.Errorf("-%s %q: it is not UTF-8", name, value))
				continue
			}
		}
		if err := flags[i].set(p, value); err == ErrHelp {
			return Spec{}, nil, err
		} else if err != nil {
			errs = append(errs, fmt.Errorf("-%s: %w", name, err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, p.finish())
	}
	if err := errors.Join(errs...); err != nil {
		return Spec{}, nil, &dataflow.Error{Op: "streaming", Kind: dataflow.User, Err: err}
	}
	return p.s, p.warnings, nil
}

// finish works out what several flags mean together, and tries the whole.
func (p *parser) finish() error {
	s := &p.s
	if len(s.Inputs) == 0 || s.Output == "" {
		return errors.New("-input and -output are needed")
	}
	for _, c := range []*string{&s.Mapper, &s.Combiner, &s.Reducer} {
		if javaClass(*c) {
			switch class(*c) {
			case "IdentityMapper", "IdentityReducer", "Mapper", "Reducer":
				*c = ""
			default:
				return fmt.Errorf("%s is a Java class: a mapper or reducer is a program", *c)
			}
		}
	}
	if s.Mapper == None || s.Combiner == None {
		return errors.New("only the reducer may be " + None)
	}
	n, err := s.number(jobReduces, 0, 1)
	if err != nil {
		return err
	}
	if s.Reduces = n; s.Reducer == None {
		s.Reduces = 0
	}
	switch name, _ := s.property(partitionerClass); class(name) {
	case "", "HashPartitioner":
		for _, o := range []string{partitionOptions, partitionFields} {
			if _, ok := s.property(o); ok {
				p.warn("-D %s has no effect without -partitioner org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner", o)
			}
		}
	case "KeyFieldBasedPartitioner":
		s.ByFields = true
	default:
		return fmt.Errorf("-partitioner %s is not known here (have HashPartitioner, KeyFieldBasedPartitioner)", name)
	}
	if _, ok := s.property(comparatorClass); !ok {
		if _, ok := s.property(comparatorOptions); ok {
			p.warn("-D %s has no effect without -D %s=org.apache.hadoop.mapreduce.lib.partition.KeyFieldBasedComparator", comparatorOptions, comparatorClass)
		}
	}
	if on, err := s.truth(inputRecursive, false); err != nil || on {
		return errors.Join(err, fmt.Errorf("-D %s=true: folders are not gone into: name them by globs, such as DIR/*/*", inputRecursive))
	}
	_, err = s.resolve()
	return err
}

// input takes paths with commas between; those in braces belong to a glob.
func (p *parser) input(v string) error {
	depth, from := 0, 0
	for i := 0; i <= len(v); i++ {
		switch {
		case i == len(v) || v[i] == ',' && depth == 0:
			if i == from {
				return fmt.Errorf("%q: a path is empty", v)
			}
			p.s.Inputs = append(p.s.Inputs, v[from:i])
			from = i + 1
		case v[i] == '{':
			depth++
		case v[i] == '}':
			depth--
		}
	}
	return nil
}

func (p *parser) ship(v string) error {
	for at := range strings.SplitSeq(v, ",") {
		f, err := fileOf(at)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(p.s.Files, func(g File) bool { return g.Name == f.Name }); i >= 0 {
			if samePath(p.s.Files[i].Path, f.Path) {
				continue
			}
			return fmt.Errorf("two files are called %s: %s and %s", f.Name, p.s.Files[i].Path, f.Path)
		}
		p.s.Files = append(p.s.Files, f)
	}
	return nil
}

func (p *parser) cmdenv(v string) error { return pair(&p.s.CmdEnv, v) }

func (p *parser) property(v string) error { return pair(&p.s.Properties, v) }

func pair(to *[]Property, v string) error {
	name, value, ok := strings.Cut(v, "=")
	if name = strings.TrimSpace(name); !ok || name == "" || strings.Contains(v, "\x00") {
		return fmt.Errorf("%q is not NAME=VALUE", v)
	}
	*to = append(*to, Property{name, value})
	return nil
}

func (p *parser) inputFormat(v string) error {
	switch class(v) {
	case "TextInputFormat":
		p.s.KeyValueInput = false
	case "KeyValueTextInputFormat":
		p.s.KeyValueInput = true
	default:
		return fmt.Errorf("%s is not known here (have TextInputFormat, KeyValueTextInputFormat)", v)
	}
	return nil
}
