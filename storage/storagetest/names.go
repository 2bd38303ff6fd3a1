package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/storage"
)

func notThere(ctx context.Context, fs storage.Filesystem, prefix string) error {
	return errors.Join(
		missing(ctx, fs, prefix+"/nothing"),
		missing(ctx, fs, prefix+"/no/such/folder/nothing"),
		lists(ctx, fs, prefix),
		fs.Remove(ctx, prefix+"/nothing"),
		fs.Remove(ctx, prefix+"/no/such/folder"),
	)
}

// tree publishes a byte under each name, in an order that is not theirs, and
// returns the whole names in order.
func tree(ctx context.Context, fs storage.Filesystem, prefix string, below ...string) ([]string, error) {
	var all []string
	for i := range below {
		name := prefix + "/" + below[(i*7+3)%len(below)] // 7 divides no length used
		if _, err := put(ctx, fs, name, []byte(name)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, name)
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(below) {
		return nil, errors.New("the check is wrong: it did not make every name")
	}
	return all, nil
}

func listOrder(ctx context.Context, fs storage.Filesystem, prefix string) error {
	// "a" sorts before "a-", "a." and "a0", but what is in it between them.
	all, err := tree(ctx, fs, prefix, "a/x", "a/b/c", "a-", "a.txt", "a0", "Q", "b/10", "b/9", "b/é", "_x")
	if err != nil {
		return err
	}
	for info, err := range fs.List(ctx, prefix) {
		if err == nil && info.Size != int64(len(info.Name)) {
			return fmt.Errorf("List says %s has %d bytes, want %d", info.Name, info.Size, len(info.Name))
		}
	}
	return lists(ctx, fs, prefix, all...)
}

func listCuts(ctx context.Context, fs storage.Filesystem, prefix string) error {
	if _, err := tree(ctx, fs, prefix, "out/a", "out/b/c", "out-2/a", "out.txt", "output/a"); err != nil {
		return err
	}
	in := []string{prefix + "/out/a", prefix + "/out/b/c"}
	return errors.Join(
		lists(ctx, fs, prefix+"/out", in...),
		lists(ctx, fs, prefix+"/out/", in...),
		lists(ctx, fs, prefix+"/out/b", in[1]),
		lists(ctx, fs, prefix+"/out/a", in[0]),
		lists(ctx, fs, prefix+"/out.txt", prefix+"/out.txt"),
		lists(ctx, fs, prefix+"/ou"),
		lists(ctx, fs, prefix+"/out/a/x"),
	)
}

func listStops(ctx context.Context, fs storage.Filesystem, prefix string) error {
	all, err := tree(ctx, fs, prefix, "a/1", "a/2", "b/1", "c")
	if err != nil {
		return err
	}
	for stop := range all {
		n := 0
		for info, err := range fs.List(ctx, prefix) { // ranging panics where yield is called again
			if err != nil {
				return err
			}
			if info.Name != all[n] {
				return fmt.Errorf("entry %d is %s, want %s", n, info.Name, all[n])
			}
			if n++; n > stop {
				break
			}
		}
	}
	return nil
}

func listFolder(ctx context.Context, fs storage.Filesystem, prefix string) error {
	if _, err := tree(ctx, fs, prefix, "f/a/x", "f/a/b/c", "f/a-", "f/a.txt", "f/z", "f2/a"); err != nil {
		return err
	}
	check := func(folder string, want ...string) error {
		var got []string
		for info, err := range storage.ListFolder(ctx, fs, folder) {
			if err != nil {
				return err
			}
			name := info.Name
			if info.Dir {
				name += "/"
			} else if info.Size != int64(len(name)) {
				return fmt.Errorf("%s has size %d, want %d", name, info.Size, len(name))
			}
			got = append(got, strings.TrimPrefix(name, prefix+"/f/"))
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("ListFolder(%q) = %q, want %q", folder, got, want)
		}
		return nil
	}
	return errors.Join(
		check(prefix+"/f", "a-", "a.txt", "a/", "z"),
		check(prefix+"/f/", "a-", "a.txt", "a/", "z"),
		check(prefix+"/f/a", "a/b/", "a/x"),
		check(prefix+"/nothing"),
	)
}

func stat(ctx context.Context, fs storage.Filesystem, prefix string) error {
	if _, err := tree(ctx, fs, prefix, "d/e/f"); err != nil {
		return err
	}
	name := prefix + "/d/e/f"
	info, err := storage.Stat(ctx, fs, name)
	if err != nil {
		return err
	}
	if info.Name != name || info.Size != int64(len(name)) || info.Dir {
		return fmt.Errorf("Stat of an object of %d bytes: %+v", len(name), info)
	}
	for _, dir := range []string{prefix + "/d/e", prefix + "/d"} {
		info, err := storage.Stat(ctx, fs, dir)
		if err != nil {
			return err
		}
		if info.Name != dir || !info.Dir {
			return fmt.Errorf("Stat of a folder: %+v", info)
		}
	}
	_, err = storage.Stat(ctx, fs, name+"2")
	return is("Stat", err, storage.ErrNotExist)
}

func remove(ctx context.Context, fs storage.Filesystem, prefix string) error {
	all, err := tree(ctx, fs, prefix, "out/a", "out/b/c", "out/b/d", "out.txt", "output/a")
	if err != nil {
		return err
	}
	// In order: out.txt, out/a, out/b/c, out/b/d, output/a.
	return first(
		func() error { return fs.Remove(ctx, all[2]) },
		func() error { return fs.Remove(ctx, all[2]) },
		func() error { return missing(ctx, fs, all[2]) },
		func() error { return lists(ctx, fs, prefix, all[0], all[1], all[3], all[4]) },
		func() error { return fs.Remove(ctx, prefix+"/out") },
		func() error { return lists(ctx, fs, prefix, all[0], all[4]) },
		func() error { return fs.Remove(ctx, prefix+"/out") },
		func() error { return missing(ctx, fs, prefix+"/out") },
		func() error { return missing(ctx, fs, all[1]) },
		func() error { _, err := put(ctx, fs, all[1], []byte("again")); return err },
		func() error { return holds(ctx, fs, all[1], []byte("again")) },
	)
}

func oddNames(ctx context.Context, fs storage.Filesystem, prefix string) error {
	all, err := tree(ctx, fs, prefix, "with space/a b", "percent/100%", "percent/%41", "plus/a+b", "uni/größe-数据",
		"mixed/(a)[b]{c}", "mixed/a=b&c;d,e", "mixed/#a@b!$'~", "mixed/q?*", "mixed/"+strings.Repeat("long", 45))
	if err != nil {
		return err
	}
	if err := lists(ctx, fs, prefix, all...); err != nil {
		return err
	}
	for _, name := range all {
		if err := errors.Join(holds(ctx, fs, name, []byte(name)), lists(ctx, fs, name, name)); err != nil {
			return err
		}
		if info, err := storage.Stat(ctx, fs, name); err != nil || info.Name != name {
			return fmt.Errorf("Stat(%q): %+v, %v", name, info, err)
		}
	}
	for _, name := range all {
		if err := errors.Join(fs.Remove(ctx, name), missing(ctx, fs, name)); err != nil {
			return err
		}
	}
	return lists(ctx, fs, prefix)
}
