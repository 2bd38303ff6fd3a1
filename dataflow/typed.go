package dataflow

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
)

// A feeder makes values of T in a run. Typed operators are feeders, and a feeder
// that stands on another one is how operators fuse: values go from function to
// function, and batches appear only at the ends of the chain.
type feeder[T any] interface {
	// feed prepares a run; the function it returns does all the work and returns
	// when the inputs are at their end and the last value was emitted.
	feed(r *run, emit func(T)) (work func())
	// accepts checks the inputs of the chain.
	accepts(in []*arrow.Schema) error
}

// rowFeeder is where a chain begins: the rows of one input.
type rowFeeder[T any] struct{ codec *codec[T] }

func (f *rowFeeder[T]) accepts(in []*arrow.Schema) error {
	if err := sameColumns(in, 1); err != nil {
		return err
	}
	return f.codec.accepts(in[0])
}

func (f *rowFeeder[T]) feed(r *run, emit func(T)) func() {
	r.show = f.codec.describe
	each := f.each
	if t, ok := r.behind.(batchTaker); ok {
		each = func(_ *run, b Batch, _ func(T)) { t.batch(b) }
	} else if l, ok := r.behind.(lineTaker); ok && f.codec.typ.ID() == arrow.STRING {
		text, _ := l.(textTaker)
		each = func(r *run, b Batch, _ func(T)) {
			if t, ok := b.(TextBatch); ok && text != nil {
				if s, ok := t.Text(); ok {
					r.row = 0
					text.text(s)
					return
				}
			}
			l.lines(stringValues(b.Column(0)))
		}
	} else if e, ok := any(emit).(func(string)); ok && f.codec.typ.ID() == arrow.STRING {
		each = func(r *run, b Batch, _ func(T)) { eachString(r, b, e) }
	}
	var b Batch
	r.atEnd(func() {
		if b != nil {
			b.Release()
		}
	})
	return func() {
		for b = r.next(0); b != nil; b = r.next(0) {
			r.batch = b
			each(r, b, emit)
			r.batch = nil
			b.Release()
			b = nil
		}
	}
}

func (f *rowFeeder[T]) each(r *run, b Batch, emit func(T)) {
	get := f.codec.reader(b)
	slot := new(T)
	for i := range int(b.NumRows()) {
		get(i, unsafe.Pointer(slot))
		r.row = i
		emit(*slot)
	}
}

// A lineTaker takes all strings of a batch at once: string i is data[ends[i]:ends[i+1]].
type lineTaker interface {
	lines(ends []int32, data string)
}

// A textTaker takes lines with their ends, where it does not matter to it which white
// space is between words.
type textTaker interface {
	text(s string)
}

// A TextBatch is a batch of lines, the only column, that are still as they lie in a file.
type TextBatch interface {
	Batch
	// Text is the lines, each with its end. It is false once the column was asked for,
	// for which they are moved; the string is good until then, or until Release.
	Text() (s string, ok bool)
}

func eachString(r *run, b Batch, emit func(string)) {
	ends, data := stringValues(b.Column(0))
	for i := range int(b.NumRows()) {
		r.row = i
		emit(data[ends[i]:ends[i+1]])
	}
}

// A typed operator makes values of B from values of A.
type typed[A, B any] struct {
	node *Node // whose name and site errors show
	from feeder[A]
	out  *codec[B]
	// open prepares a run. push takes the values; done, which may be nil, is called
	// after the last.
	open func(r *run, at int, emit func(B)) (push func(A), done func())
}

var _ Fuser = (*typed[int, int])(nil)

func (t *typed[A, B]) accepts(in []*arrow.Schema) error { return t.from.accepts(in) }

func (t *typed[A, B]) feed(r *run, emit func(B)) func() {
	at := r.step(t.node)
	r.takes = nil
	push, done := t.open(r, at, emit)
	r.behind = r.takes
	work := t.from.feed(r, push)
	if done == nil {
		return work
	}
	return func() {
		work()
		r.at = at
		done()
	}
}

// Schema implements Operator.
func (t *typed[A, B]) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	if err := t.accepts(in); err != nil {
		return nil, &Error{Op: t.node.Name + " (" + t.node.Site + ")", Kind: User, Err: err}
	}
	return t.out.schema, nil
}

// Open implements Operator.
func (t *typed[A, B]) Open(env *Env, in ...Stream) (Stream, error) {
	return openRun(env, in, feeder[B](t), t.out), nil
}

// FuseAfter implements Fuser.
func (t *typed[A, B]) FuseAfter(prev Operator) (Operator, bool) {
	f, ok := prev.(feeder[A])
	if _, first := t.from.(*rowFeeder[A]); !ok || !first {
		return nil, false
	}
	fused := *t
	fused.from = f
	return &fused, true
}

// A rooted operator makes values of B from the batches of its inputs in a way of
// its own; what comes after it fuses as after any typed operator.
type rooted[B any] struct {
	node  *Node
	out   *codec[B]
	check func(in []*arrow.Schema) error
	open  func(r *run, at int, emit func(B)) (work func())
}

func (o *rooted[B]) accepts(in []*arrow.Schema) error {
	if err := sameColumns(in, len(o.node.In)); err != nil {
		return err
	}
	return o.check(in)
}

func (o *rooted[B]) feed(r *run, emit func(B)) func() {
	return o.open(r, r.step(o.node), emit)
}

// Schema implements Operator.
func (o *rooted[B]) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	if err := o.accepts(in); err != nil {
		return nil, &Error{Op: o.node.Name + " (" + o.node.Site + ")", Kind: User, Err: err}
	}
	return o.out.schema, nil
}

// Open implements Operator.
func (o *rooted[B]) Open(env *Env, in ...Stream) (Stream, error) {
	return openRun(env, in, feeder[B](o), o.out), nil
}
