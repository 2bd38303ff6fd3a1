package opstest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// fake passes its input and makes one mistake.
type fake struct {
	mistake string
}

func (f fake) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	if f.mistake == "schema" {
		return SchemaOf(arrow.BinaryTypes.String), nil
	}
	return in[0], nil
}

func (f fake) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &fakeStream{fake: f, env: env, in: in[0]}, nil
}

type fakeStream struct {
	fake
	env    *dataflow.Env
	in     dataflow.Stream
	n      int
	ended  bool
	closes int
	err    error
}

func (s *fakeStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.mistake == "eof does not repeat" && s.ended {
		return nil, errors.New("what?")
	}
	if s.mistake == "ignores the context" {
		ctx = context.WithoutCancel(ctx)
	}
	if s.err != nil {
		return nil, s.err
	}
	b, err := s.in.Next(ctx)
	if err != nil {
		s.ended = true
		if s.mistake == "swallows errors" {
			err = io.EOF
		}
		if s.mistake != "an error is not final" {
			s.err = err
		} else if err != io.EOF {
			s.mistake = "swallowed"
			s.err = io.EOF
		}
		return nil, err
	}
	s.n++
	switch s.mistake {
	case "leaks":
		b.Retain()
	case "empty batch":
		if s.n == 2 {
			b.Release()
			return b.NewSlice(0, 0), nil
		}
	case "loses a batch":
		if s.n == 2 {
			b.Release()
			return s.Next(ctx)
		}
	case "reserves":
		s.env.Memory.TryReserve(1)
	case "leaves a run":
		if s.n == 1 {
			if _, err := s.env.Spill.Create(s.env, "fake", b.Schema()); err != nil {
				return nil, err
			}
		}
	case "cuts depend on batches":
		if b.NumRows() == 2 {
			c := b.NewSlice(0, 1)
			b.Release()
			return c, nil
		}
	}
	return b, nil
}

func (s *fakeStream) Close() error {
	s.closes++
	if s.mistake == "closes once" && s.closes > 1 {
		return errors.New("closed already")
	}
	if s.mistake == "leaves its input open" {
		return nil
	}
	return s.in.Close()
}

func TestCheckSeesMistakes(t *testing.T) {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, SchemaOf(arrow.PrimitiveTypes.Int64))
	rb.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2, 3, 4, 5}, nil)
	b := rb.NewRecordBatch()
	for mistake, says := range map[string]string{
		"":                       "",
		"schema":                 "schema",
		"eof does not repeat":    "an end is final",
		"an error is not final":  "an end is final",
		"ignores the context":    "cancelled",
		"swallows errors":        "fails at row",
		"leaks":                  "Arrow memory remain",
		"empty batch":            "an empty batch",
		"loses a batch":          "missing",
		"reserves":               "still reserved",
		"leaves a run":           "runs remain",
		"cuts depend on batches": "want 5",
		"closes once":            "a second Close",
		"leaves its input open":  "still open",
	} {
		var all []string
		for _, err := range Check(t.Context(), fake{mistake}, []dataflow.Batch{b}, Rows(b)) {
			all = append(all, err.Error())
		}
		got := strings.Join(all, "\n")
		if says == "" && got != "" {
			t.Errorf("no mistake: %s", got)
		}
		if !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", mistake, got, says)
		}
	}
	for _, err := range Check(t.Context(), fake{}, []dataflow.Batch{b}, Rows(b), Spills()) {
		if strings.Contains(err.Error(), "nothing was spilled") {
			return
		}
	}
	t.Error("an operator that never spills passes as one that does")
}
