package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// schemaVersion is of all that commands print for programs.
const schemaVersion = 1

// versioned is the first field of a document of its own.
type versioned struct {
	SchemaVersion int `json:"schema_version,omitempty"`
}

func (v *versioned) setVersion() { v.SchemaVersion = schemaVersion }

type document interface{ setVersion() }

// printList prints items as a table, or as one document {"schema_version", key: []},
// or as a document a line.
func printList[D document](a *app, key string, items []D, table func(w io.Writer)) error {
	switch a.output {
	case "jsonl":
		enc := json.NewEncoder(a.out)
		for _, it := range items {
			it.setVersion()
			if err := enc.Encode(it); err != nil {
				return err
			}
		}
		return nil
	case "json", "yaml":
		if items == nil {
			items = []D{}
		}
		list, err := json.Marshal(items)
		if err != nil {
			return err
		}
		return printJSON(a, []byte(fmt.Sprintf(`{"schema_version":%d,%q:%s}`, schemaVersion, key, list)))
	}
	return printTable(a.out, table)
}

// printOne prints one document.
func printOne(a *app, d document, table func(w io.Writer)) error {
	if a.output == "table" {
		return printTable(a.out, table)
	}
	d.setVersion()
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return printJSON(a, b)
}

func printTable(out io.Writer, table func(w io.Writer)) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

func printJSON(a *app, b []byte) error {
	if a.output == "yaml" {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		var y strings.Builder
		if err := yaml(&y, d, 0, false); err != nil {
			return err
		}
		_, err := io.WriteString(a.out, strings.TrimPrefix(y.String(), "\n"))
		return err
	}
	_, err := fmt.Fprintf(a.out, "%s\n", b)
	return err
}

// yaml turns the next JSON value into YAML in the same order of fields. JSON's
// strings and numbers are YAML's too.
func yaml(w *strings.Builder, d *json.Decoder, depth int, inList bool) error {
	tok, err := d.Token()
	if err != nil {
		return err
	}
	indent := strings.Repeat("  ", depth)
	switch tok {
	case json.Delim('{'):
		if !d.More() {
			w.WriteString(" {}\n")
		}
		for first := true; d.More(); first = false {
			if first && inList {
				w.WriteString(" ")
			} else {
				if first {
					w.WriteString("\n")
				}
				w.WriteString(indent)
			}
			key, err := d.Token()
			if err != nil {
				return err
			}
			name := key.(string)
			if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" || name == "" {
				q, _ := json.Marshal(name)
				name = string(q)
			}
			w.WriteString(name + ":")
			if err := yaml(w, d, depth+1, false); err != nil {
				return err
			}
		}
		_, err = d.Token()
		return err
	case json.Delim('['):
		if !d.More() {
			w.WriteString(" []\n")
		}
		for first := true; d.More(); first = false {
			if first {
				w.WriteString("\n")
			}
			w.WriteString(indent + "-")
			if err := yaml(w, d, depth+1, true); err != nil {
				return err
			}
		}
		_, err = d.Token()
		return err
	}
	q, err := json.Marshal(tok)
	w.WriteString(" " + string(q) + "\n")
	return err
}
