package expr

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// wire is an expression as JSON: {"col":"x"}, {"lit":"5","type":"int64"} or
// {"op":"add","args":[...]}.
type wire struct {
	Op   string  `json:"op,omitempty"`
	Col  *string `json:"col,omitempty"`
	Name string  `json:"name,omitempty"` // of a registered function
	Lit  *string `json:"lit,omitempty"`  // base64 for binary and for text that is no UTF-8
	B64  bool    `json:"base64,omitempty"`
	Type string  `json:"type,omitempty"` // of a literal or cast; a literal without lit is null
	Args []Expr  `json:"args,omitempty"`
}

// MarshalJSON implements json.Marshaler. Equal expressions give equal bytes.
func (e Expr) MarshalJSON() ([]byte, error) {
	if e.n == nil {
		return []byte("null"), nil
	}
	n := e.n
	if n.err != nil {
		return nil, n.err
	}
	w := wire{Op: n.op, Name: n.name, Args: n.args}
	switch n.op {
	case opCol:
		w = wire{Col: &n.name}
	case opLit:
		w = wire{Type: TypeName(n.lit.typ)}
		if !n.lit.null {
			word := n.lit.word()
			if kindOf(n.lit.typ) == kText {
				word, w.B64 = base64.StdEncoding.EncodeToString([]byte(word)), true
				if plain, err := json.Marshal(n.lit.s); err == nil && n.lit.typ.ID() == arrow.STRING {
					var back string
					if json.Unmarshal(plain, &back) == nil && back == n.lit.s {
						word, w.B64 = n.lit.s, false
					}
				}
			}
			w.Lit = &word
		}
	case "cast":
		w.Type = TypeName(n.typ)
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Expr) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		*e = Expr{}
		return nil
	}
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	n := &node{op: w.Op, name: w.Name, args: w.Args}
	for _, a := range w.Args {
		if a.IsZero() {
			return errors.New("an argument is no expression")
		}
	}
	var err error
	if w.Type != "" {
		if n.typ, err = ParseType(w.Type); err != nil {
			return err
		}
	}
	switch {
	case w.Col != nil && w.Op == "" && w.Type == "":
		n = &node{op: opCol, name: *w.Col}
	case w.Op == "" && n.typ != nil:
		lit := literal{typ: n.typ, null: w.Lit == nil}
		if w.Lit != nil {
			word := *w.Lit
			if w.B64 {
				b, err := base64.StdEncoding.DecodeString(word)
				if err != nil {
					return err
				}
				word = string(b)
			}
			if lit, err = parseWord(n.typ, word); err != nil {
				return err
			}
		}
		n = &node{op: opLit, lit: lit}
	case w.Op == "cast" && n.typ == nil:
		return errors.New("a cast has no type")
	case w.Op == "" || w.Op == opCol || w.Op == opLit:
		return fmt.Errorf("%s is no expression", raw)
	}
	*e = Expr{n}
	return nil
}
