package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/version"
)

const modulePath = "github.com/divisi-data/divisi"

// templates are the modules that init writes, a folder each.
//
//go:embed templates
var templates embed.FS

type initOptions struct {
	app     *app
	name    string
	dir     string
	replace string // a checkout to build against
}

func initCommand(a *app) *cobra.Command {
	o := initOptions{app: a}
	cmd := &cobra.Command{
		Use: "init wordcount|join|kafka|streaming [DIR]", Short: "Write a job of your own, with a passing test", Args: between(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			o.name, o.dir = args[0], args[0]
			if len(args) > 1 {
				o.dir = args[1]
			}
			return initModule(o)
		},
	}
	cmd.Flags().StringVar(&o.replace, "replace", "", "build against this checkout of divisi instead of a release")
	return cmd
}

// initModule writes into a new or empty folder, or nothing.
func initModule(o initOptions) error {
	names := templateNames()
	if !slices.Contains(names, o.name) {
		hint := ""
		if near := console.Suggest(o.name, names); near != "" {
			hint = fmt.Sprintf(": did you mean %s?", near)
		}
		return console.Exitf(console.Usage, "init %s: there are %s%s", o.name, strings.Join(names, ", "), hint)
	}
	have, err := os.ReadDir(o.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(have) > 0 {
		return console.Exitf(console.Usage, "%s is not empty: name another folder", o.dir)
	}
	abs, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	mod, sum, err := moduleFiles(moduleName(filepath.Base(abs)), o.replace)
	if err != nil {
		return err
	}
	files["go.mod"] = mod
	if sum != nil {
		files["go.sum"] = sum
	}
	root := "templates/" + o.name
	list, err := templates.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range list {
		b, err := templates.ReadFile(root + "/" + e.Name())
		if err != nil {
			return err
		}
		files[strings.TrimSuffix(e.Name(), ".tmpl")] = b
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(o.dir, name), b, 0o644); err != nil {
			return err
		}
	}
	tidy := ""
	if sum == nil {
		tidy = "go mod tidy && "
	}
	fmt.Fprintf(o.app.err, "wrote %s; try\n  cd %s && %sgo test ./...\n", o.dir, o.dir, tidy)
	return nil
}

func templateNames() []string {
	list, _ := templates.ReadDir("templates")
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

var notInModules = regexp.MustCompile(`[^a-z0-9._-]+`)

func moduleName(dir string) string {
	name := strings.Trim(notInModules.ReplaceAllString(strings.ToLower(dir), "-"), "-.")
	if name == "" {
		name = "job"
	}
	return "example.com/" + name
}

var goMod = template.Must(template.New("go.mod").Parse(`module {{.Module}}

go {{.Go}}

require {{.Path}} {{.Version}}
{{with .Replace}}
replace {{$.Path}} => {{.}}
{{end}}{{with .Indirect}}
require (
{{range .}}	{{.}} // indirect
{{end}})
{{end}}`))

// moduleFiles are go.mod and, against a checkout, go.sum: what the checkout needs is
// copied from its own, so that the module builds as it is, without a network.
func moduleFiles(module, replace string) (mod, sum []byte, err error) {
	data := struct {
		Module, Go, Path, Version, Replace string
		Indirect                           []string
	}{Module: module, Go: "1.26.0", Path: modulePath, Version: version.String()}
	if !strings.HasPrefix(data.Version, "v") {
		data.Version = "v0.0.0"
	}
	if replace != "" {
		if data.Replace, err = filepath.Abs(replace); err != nil {
			return nil, nil, err
		}
		b, err := os.ReadFile(filepath.Join(data.Replace, "go.mod"))
		if err != nil || !bytes.Contains(b, []byte("module "+modulePath+"\n")) {
			return nil, nil, console.Exitf(console.Usage, "--replace %s: no checkout of %s is there", replace, modulePath)
		}
		if sum, err = os.ReadFile(filepath.Join(data.Replace, "go.sum")); err != nil {
			return nil, nil, err
		}
		data.Indirect = required(string(b))
	}
	var out bytes.Buffer
	err = goMod.Execute(&out, data)
	return out.Bytes(), sum, err
}

// required are the "path version" lines of a go.mod.
func required(mod string) []string {
	var list []string
	in := false
	for line := range strings.Lines(mod) {
		line, _, _ = strings.Cut(line, "//")
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "require ("):
			in = true
		case line == ")":
			in = false
		case in && line != "":
			list = append(list, line)
		case strings.HasPrefix(line, "require "):
			list = append(list, strings.TrimPrefix(line, "require "))
		}
	}
	slices.Sort(list)
	return list
}
