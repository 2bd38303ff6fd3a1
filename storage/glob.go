package storage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// ErrNoMatch is what Glob fails with, wrapped in *Error, when a pattern is well
// formed and nothing fits it. A path without a pattern fails with ErrNotExist.
var ErrNoMatch = errors.New("no file matches")

// Glob finds the objects that a user's input names: one object; a folder, which
// stands for all objects below it at any depth; or a pattern, which stands for
// all objects it matches and for all objects below the folders it matches. In a
// pattern
//
//   - matches any run of characters but the slash
//     ?        any one character but the slash
//     [a-z]    one of a set; [!a-z] or [^a-z] one that is not in it
//     {a,b}    either text; they nest and may hold slashes
//     **       as a whole part between slashes: any number of folders, none too
//     \x       the character x without its meaning
//
// Hidden names (see Hidden) are passed over in folders, and a pattern's part
// matches them only if it begins with the same character itself. A URI whose
// object or folder exists as it is written is no pattern: what Glob returns can
// be given to it again. The comma has no meaning outside braces, and nothing is
// percent-decoded.
//
// The result has whole URIs as Names, each once, in order. It is empty only for a
// folder that holds nothing visible.
func Glob(ctx context.Context, uri string) ([]Info, error) {
	g := &globber{base: uri, found: map[string]Info{}}
	literal := !strings.ContainsAny(uri, `*?[{\`)
	fs, name, err := Resolve(ctx, uri)
	if err == nil {
		var info Info
		if info, err = Stat(ctx, fs, name); err == nil {
			if err := g.add(ctx, fs, info); err != nil {
				return nil, err
			}
			return g.result(), nil
		}
	}
	if literal || ctx.Err() != nil {
		return nil, err
	}
	// Whatever else is wrong with the URI as a name, the pattern meets it too.
	patterns, err := expand(uri)
	if err != nil {
		return nil, &Error{Op: "glob", Path: uri, Err: err}
	}
	for _, p := range patterns {
		if err := g.pattern(ctx, p); err != nil {
			return nil, err
		}
	}
	if len(g.found) == 0 {
		return nil, &Error{Op: "glob", Path: uri, Err: fmt.Errorf("%w (names that begin with . or _ are passed over)", ErrNoMatch)}
	}
	return g.result(), nil
}

type globber struct {
	base  string // the URI being expanded, whose style the results take
	found map[string]Info
}

func (g *globber) result() []Info {
	var all []Info
	for _, info := range g.found {
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (g *globber) keep(info Info) {
	info.Name = URI(g.base, info.Name)
	g.found[info.Name] = info
}

// add takes an object, or what is visible below a folder.
func (g *globber) add(ctx context.Context, fs Filesystem, info Info) error {
	if info.Dir {
		return g.matching(ctx, fs, info.Name, nil)
	}
	g.keep(info)
	return nil
}

// named takes what has a name, if it is there: as one of several alternatives it
// need not be.
func (g *globber) named(ctx context.Context, fs Filesystem, name string) error {
	info, err := Stat(ctx, fs, name)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return g.add(ctx, fs, info)
}

// matching takes those objects below a folder whose parts fit.
func (g *globber) matching(ctx context.Context, fs Filesystem, folder string, parts []string) error {
	for info, err := range fs.List(ctx, folder) {
		if err != nil {
			return err
		}
		if info.Name == folder {
			continue // an object and no folder
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(info.Name, folder), "/")
		ok, err := fits(parts, strings.Split(rest, "/"))
		if err != nil {
			return err
		}
		if ok {
			g.keep(info)
		}
	}
	return nil
}

// pattern takes what one pattern without braces matches.
func (g *globber) pattern(ctx context.Context, uri string) error {
	g.base = uri
	root, parts := split(uri)
	for _, part := range parts {
		if _, err := path.Match(matchable(part), ""); err != nil {
			return &Error{Op: "glob", Path: uri, Err: Invalid(fmt.Errorf("%q is no pattern: a [ without its ], or a \\ at the end (a \\ before a character takes it literally)", part))}
		}
	}
	for i, part := range parts {
		if part == "" || part == "." {
			continue
		}
		if part == "**" || hasMeta(part) {
			fs, name, err := Resolve(ctx, root)
			if err != nil {
				return err
			}
			return g.walk(ctx, fs, name, slices.DeleteFunc(slices.Clone(parts[i:]), func(p string) bool { return p == "" || p == "." }))
		}
		root = join(root, unescape(part))
	}
	fs, name, err := Resolve(ctx, root)
	if err != nil {
		return err
	}
	return g.named(ctx, fs, name)
}

// walk goes down one folder for each part, as far as single parts are matched.
func (g *globber) walk(ctx context.Context, fs Filesystem, folder string, parts []string) error {
	part, rest := parts[0], parts[1:]
	if part == "**" {
		return g.matching(ctx, fs, folder, parts)
	}
	if !hasMeta(part) {
		name := unescape(part)
		if folder != "" {
			name = join(folder, name)
		}
		if len(rest) > 0 {
			return g.walk(ctx, fs, name, rest)
		}
		return g.named(ctx, fs, name)
	}
	for info, err := range ListFolder(ctx, fs, folder) {
		if err != nil && info.Name == "" {
			return err
		}
		ok, merr := fit(part, info.Name[strings.LastIndexByte(info.Name, '/')+1:])
		switch {
		case merr != nil:
			return merr
		case !ok:
			continue // an error too: it is about an entry that nobody wants
		case err != nil:
			return err
		case len(rest) > 0 && info.Dir:
			err = g.walk(ctx, fs, info.Name, rest)
		case len(rest) == 0:
			err = g.add(ctx, fs, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func join(folder, name string) string {
	if folder == "" || strings.HasSuffix(folder, "/") {
		return folder + name
	}
	return folder + "/" + name
}
