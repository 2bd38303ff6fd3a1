package streaming

import (
	"fmt"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
)

// A resolved spec is one whose words have been understood.
type resolved struct {
	*Spec
	mapper, combiner, reducer []string // nil: lines pass

	mapIn, reduceIn, text string // what separates keys from values in what programs and output get
	mapOut, reduceOut     cutter
	input                 string
	order                 *keyFields // nil: keys are ordered by their bytes
	partition             func(key string) int32
	anyExit               bool
	compression           dataflow.Compression
}

// aggregates says that the reducer is the built-in one.
func (r *resolved) aggregates() bool { return r.Reducer == aggregateReducer }

// resolve finds all that is wrong with a spec.
func (s *Spec) resolve() (_ *resolved, err error) {
	r := &resolved{Spec: s, partition: partitionOfKey}
	for _, c := range []struct {
		text string
		to   *[]string
	}{{s.Mapper, &r.mapper}, {s.Combiner, &r.combiner}, {s.Reducer, &r.reducer}} {
		if c.text == "" || c.text == None || c.text == aggregateReducer {
			continue
		}
		if *c.to, err = s.command(c.text); err != nil {
			return nil, err
		}
	}
	if s.Mapper == aggregateReducer || s.Combiner == aggregateReducer && s.Reducer != aggregateReducer {
		return nil, fmt.Errorf("%q is a reducer, and a combiner where it is the reducer too", aggregateReducer)
	}
	if s.Reduces < 0 || s.Reduces > maxReduces {
		return nil, fmt.Errorf("%d reducers: want at most %d", s.Reduces, maxReduces)
	}
	for _, sep := range []struct {
		name string
		to   *string
	}{{mapInSeparator, &r.mapIn}, {reduceInSeparator, &r.reduceIn}, {textSeparator, &r.text},
		{mapOutSeparator, &r.mapOut.separator}, {redOutSeparator, &r.reduceOut.separator}, {inputSeparator, &r.input}} {
		if *sep.to, err = s.separator(sep.name); err != nil {
			return nil, err
		}
	}
	if r.mapOut.fields, err = s.number(mapOutKeyFields, 1, 1); err != nil {
		return nil, err
	}
	if r.reduceOut.fields, err = s.number(redOutKeyFields, 1, 1); err != nil {
		return nil, err
	}
	fails, err := s.truth(exitIsFailure, true)
	if err != nil {
		return nil, err
	}
	r.anyExit = !fails
	if v, ok := s.property(ignoreKey); ok && !strings.EqualFold(v, fmt.Sprint(!s.KeyValueInput)) {
		return nil, fmt.Errorf("-D %s=%s: a mapper gets lines of text without a key, and both of KeyValueTextInputFormat", ignoreKey, v)
	}
	if r.compression, err = s.compression(); err != nil {
		return nil, err
	}
	return r, r.resolveKeys()
}

// maxReduces keeps the number of the parts that a task writes within reason.
const maxReduces = 10_000

func (r *resolved) resolveKeys() error {
	separator, err := r.separator(keySeparator)
	if err != nil {
		return err
	}
	if name, ok := r.property(comparatorClass); ok {
		switch class(name) {
		case "KeyFieldBasedComparator":
			options, _ := r.property(comparatorOptions)
			k, err := parseKeyFields(separator, options)
			if err != nil {
				return fmt.Errorf("-D %s: %w", comparatorOptions, err)
			}
			if strings.TrimSpace(options) != "" {
				r.order = &k
			}
		case "Comparator": // of Text: by bytes
		default:
			return fmt.Errorf("-D %s=%s is not known here (have KeyFieldBasedComparator)", comparatorClass, name)
		}
	}
	if !r.ByFields {
		return nil
	}
	options, given := r.property(partitionOptions)
	if n, err := r.number(partitionFields, 1, 0); err != nil {
		return err
	} else if n > 0 {
		options, given = fmt.Sprintf("-k1,%d", n), true
	}
	k, err := parseKeyFields(separator, options)
	if err != nil {
		return fmt.Errorf("-D %s: %w", partitionOptions, err)
	}
	if given && strings.TrimSpace(options) != "" {
		r.partition = k.partition
	} else { // Java's hash of the string, where the key is ASCII
		r.partition = func(key string) int32 { return hashBytes(0, key) & 0x7fffffff }
	}
	return nil
}

// A cutter takes keys from lines: what stands before the separator of that number.
type cutter struct {
	separator string
	fields    int
}

// cut gives the key, the value, and whether there was a separator between them.
func (c cutter) cut(line string) (key, value string, ok bool) {
	if c.fields == 1 {
		return strings.Cut(line, c.separator)
	}
	at := 0
	for range c.fields {
		i := strings.Index(line[at:], c.separator)
		if i < 0 {
			return line, "", false
		}
		at += i + len(c.separator)
	}
	return line[:at-len(c.separator)], line[at:], true
}

// join is a function that puts a line's key and value together again with another
// separator; nil where it would change nothing.
func (c cutter) join(separator string) func(string) string {
	if separator == c.separator {
		return nil
	}
	return func(line string) string {
		key, value, ok := c.cut(line)
		if !ok {
			return line
		}
		return key + separator + value
	}
}
