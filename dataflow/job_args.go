package dataflow

import (
	"flag"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Arg is the i-th of the job's arguments that are no flags. A missing one is an
// error of the job, reported with its usage; "" is returned to go on with.
// Declare flags before the first call of Arg or Args.
func (j *Job) Arg(i int) string {
	j.parse()
	if i >= 0 && i < len(j.rest) {
		return j.rest[i]
	}
	j.missing = true
	j.Errorf("argument %d is missing (got %d: %s)%s", i+1, len(j.rest), quoted(j.rest), j.usage())
	return ""
}

// Args is all arguments that are no flags.
func (j *Job) Args() []string {
	j.parse()
	return slices.Clone(j.rest)
}

// Flags is where flags of other types than the ones below are declared, before the
// first call of Arg or Args, which read them. A flag may stand anywhere before
// "--"; "-name value", "--name value" and "--name=value" are the same.
func (j *Job) Flags() *flag.FlagSet { return j.flags }

// Int declares a flag and reads it.
func (j *Job) Int(name string, value int, usage string) int {
	p := j.flags.Int(name, value, usage)
	j.scan(name)
	return *p
}

// Float declares a flag and reads it.
func (j *Job) Float(name string, value float64, usage string) float64 {
	p := j.flags.Float64(name, value, usage)
	j.scan(name)
	return *p
}

// String declares a flag and reads it.
func (j *Job) String(name, value, usage string) string {
	p := j.flags.String(name, value, usage)
	j.scan(name)
	return *p
}

// Bool declares a flag and reads it: --name, or --name=false.
func (j *Job) Bool(name string, value bool, usage string) bool {
	p := j.flags.Bool(name, value, usage)
	j.scan(name)
	return *p
}

// Duration declares a flag and reads it: --name 1m30s.
func (j *Job) Duration(name string, value time.Duration, usage string) time.Duration {
	p := j.flags.Duration(name, value, usage)
	j.scan(name)
	return *p
}

// scan finds a declared flag among the arguments and sets it.
func (j *Job) scan(name string) {
	if j.split {
		j.Errorf("flag --%s is declared after the arguments were read: declare flags first", name)
		return
	}
	f := j.flags.Lookup(name)
	b, isBool := f.Value.(interface{ IsBoolFlag() bool })
	isBool = isBool && b.IsBoolFlag()
	for i, a := range j.args {
		if a == "--" {
			return
		}
		got, value, has := cutFlag(a)
		if got != name || j.taken[i] {
			continue
		}
		j.taken[i] = true
		switch {
		case has:
		case isBool:
			value = "true"
		case i+1 < len(j.args) && !j.taken[i+1] && j.args[i+1] != "--":
			value = j.args[i+1]
			j.taken[i+1] = true
		default:
			j.Errorf("flag --%s needs a value%s", name, j.usage())
			continue
		}
		if err := j.flags.Set(name, value); err != nil {
			j.Errorf("flag --%s: %q: %v%s", name, value, err, j.usage())
			_ = j.flags.Set(name, f.DefValue)
		}
	}
}

// parse reads the flags that were declared on Flags, and separates the rest.
func (j *Job) parse() {
	if j.split {
		return
	}
	j.flags.VisitAll(func(f *flag.Flag) { j.scan(f.Name) })
	j.split = true
	for i, a := range j.args {
		switch {
		case j.taken[i]:
		case a == "--":
			j.rest = append(j.rest, j.args[i+1:]...)
			return
		default:
			if name, _, _ := cutFlag(a); name != "" {
				j.Errorf("flag --%s is unknown (a value that begins with a dash comes after --)%s", name, j.usage())
				continue
			}
			j.rest = append(j.rest, a)
		}
	}
}

// cutFlag takes "--name=value" apart; name is "" where a is no flag. A dash alone
// and a negative number are none.
func cutFlag(a string) (name, value string, has bool) {
	name, ok := strings.CutPrefix(a, "-")
	if !ok {
		return "", "", false
	}
	if _, err := strconv.ParseFloat(a, 64); err == nil {
		return "", "", false
	}
	return strings.Cut(strings.TrimPrefix(name, "-"), "=")
}

func (j *Job) usage() string {
	var b strings.Builder
	j.flags.SetOutput(&b)
	j.flags.PrintDefaults()
	if b.Len() == 0 {
		return ""
	}
	return "\nflags of " + j.name + ":\n" + strings.TrimRight(b.String(), "\n")
}

func quoted(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	return strings.Join(q, " ")
}
