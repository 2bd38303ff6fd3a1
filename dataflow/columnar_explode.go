package dataflow

// explodeSpec is of an explode.
type explodeSpec struct {
	Column string
	Outer  bool
}

// Arguments of the operator of kind "explode".
type explodeArgs struct {
	Column int  `json:"column"`
	Outer  bool `json:"outer,omitempty"`
}

// Explode makes of each row as many as the list in a column has elements, each with one
// of them in the column's place. A row whose list is null or empty is left out.
func (t Table) Explode(column string) Table { return t.exploded("Explode", column, false) }

// ExplodeOuter is Explode, and keeps a row whose list is null or empty, with a null.
func (t Table) ExplodeOuter(column string) Table { return t.exploded("ExplodeOuter", column, true) }

func (t Table) exploded(name, column string, outer bool) Table {
	at := t.r.schema.FieldIndices(column)
	r := &rel{op: "explode", name: name, in: []*rel{t.r}, schema: t.r.schema, explode: explodeSpec{column, outer}}
	if len(at) != 1 {
		t.j.Errorf("%s: there is no column %q (the columns are %s)", name, column, schemaWords(t.r.schema))
		return t.then(r)
	}
	r.schema = t.planned(name, "explode", explodeArgs{at[0], outer}, t.r.schema)
	return t.then(r)
}

// others are the columns that an explode passes on.
func (r *rel) others() []Column {
	var cols []Column
	names := fieldNames(r.schema)
	for i, e := range columnRefs(names) {
		if names[i] != r.explode.Column {
			cols = append(cols, Column{names[i], e})
		}
	}
	return cols
}

// exploded lowers an explode, also where nobody looks at the elements: they are counted.
func (l *lowering) exploded(r *rel, need []string) lowered {
	in := l.lower(r.in[0], with(need, r.explode.Column))
	at := in.n.Schema.FieldIndices(r.explode.Column)[0]
	for _, b := range in.by {
		if b == r.explode.Column { // a list's place says nothing of its elements'
			in.by = nil
			break
		}
	}
	return l.rowwise(r, r.name, "explode", explodeArgs{at, r.explode.Outer}, in)
}
