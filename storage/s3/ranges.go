package s3

import (
	"context"
	"iter"
	"strings"
	"sync"
)

// A listing is one page after another, each asked for with the last key of the one
// before, so a long one waits for the server page by page. all cuts what follows
// the first page into ranges of keys, at the names of folders, which one request
// tells for up to a thousand of them, and lists several ranges at once.
//
// Each range costs one request of its own: its last page is seldom full. So a
// range is made to hold rangePages pages, as far as the first page lets it be
// guessed how much is in a folder, and a listing of few pages is not cut.
const (
	rangePages  = 8
	rangesAhead = 8 // listed at once; each holds at most rangePages pages
)

// keyRange is all keys after one and up to another, or without an end.
type keyRange struct{ after, to string }

// all yields the keys that begin with prefix, in order, page by page.
func (f *FS) all(ctx context.Context, prefix string) iter.Seq2[[]entry, error] {
	return func(yield func([]entry, error) bool) {
		keys, more, err := f.page(ctx, prefix, "")
		for {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(keys) > 0 && !yield(keys, nil) || !more {
				return
			}
			after := keys[len(keys)-1].Key
			ranges, err := f.cut(ctx, prefix, keys)
			if err != nil {
				yield(nil, err)
				return
			}
			if !f.ordered(ctx, prefix, ranges, yield) {
				return
			}
			end := ranges[len(ranges)-1].to
			if end == "" {
				return
			}
			// The folders were too many to be told at once.
			after = max(after, end)
			keys, more, err = f.page(ctx, prefix, after)
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// cut makes ranges of what follows a page. The last range has an end only where
// more is to be cut after it.
func (f *FS) cut(ctx context.Context, prefix string, page []entry) ([]keyRange, error) {
	after := page[len(page)-1].Key
	whole := []keyRange{{after: after}}
	level := prefix
	for range 10 { // down to where the folders are more than one
		folders := map[string]bool{}
		for _, o := range page {
			if dir, _, ok := strings.Cut(strings.TrimPrefix(o.Key, level), "/"); ok && strings.HasPrefix(o.Key, level) {
				folders[dir] = true
			}
		}
		if len(folders) == 0 {
			return whole, nil
		}
		entries, more, err := f.folderPage(ctx, level, after)
		if err != nil {
			return nil, err
		}
		// The page's last folder goes on, so it is a part of the first range.
		var bounds []string
		for _, o := range entries {
			if strings.HasSuffix(o.Key, "/") && !strings.HasPrefix(after, o.Key) {
				bounds = append(bounds, o.Key)
			}
		}
		if len(bounds) == 0 && !more {
			// All that is left may lie in the folder that the page ends in. Above it
			// nothing follows, so its own folders divide what is left.
			dir, _, ok := strings.Cut(strings.TrimPrefix(after, level), "/")
			if !ok {
				return whole, nil
			}
			level += dir + "/"
			continue
		}
		step := max(1, rangePages*f.set.page*len(folders)/len(page))
		return split(after, bounds, step, more), nil
	}
	return whole, nil
}

// split puts step folders into each range.
func split(after string, bounds []string, step int, more bool) []keyRange {
	var all []keyRange
	for i := 0; i < len(bounds); i += step {
		// A range ends before its next folder's first key; the folder's name with its
		// slash is at most that key, and then is the range's last.
		all = append(all, keyRange{after, bounds[i]})
		after = bounds[i]
	}
	if !more || len(all) == 0 {
		all = append(all, keyRange{after: after})
	}
	return all
}

// ordered lists ranges at once and yields their pages in order. It reports whether
// to go on.
func (f *FS) ordered(ctx context.Context, prefix string, ranges []keyRange, yield func([]entry, error) bool) bool {
	type answer struct {
		keys []entry
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	pages := make([]chan answer, len(ranges))
	launch := func(i int) {
		if i >= len(ranges) {
			return
		}
		out := make(chan answer, rangePages)
		pages[i] = out
		work.Go(func() {
			defer close(out)
			r := ranges[i]
			for more := true; more; {
				var a answer
				a.keys, more, a.err = f.page(ctx, prefix, r.after)
				if n := len(a.keys); n > 0 {
					r.after = a.keys[n-1].Key
				}
				for r.to != "" && len(a.keys) > 0 && a.keys[len(a.keys)-1].Key > r.to {
					a.keys, more = a.keys[:len(a.keys)-1], false
				}
				if r.to != "" && r.after == r.to {
					more = false
				}
				more = more && a.err == nil
				select {
				case out <- a:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for i := range rangesAhead {
		launch(i)
	}
	for i := range ranges {
		for a := range pages[i] {
			if a.err != nil || len(a.keys) > 0 {
				if !yield(a.keys, a.err) || a.err != nil {
					return false
				}
			}
		}
		launch(i + rangesAhead)
	}
	// Cancelled ranges end without a word.
	if err := ctx.Err(); err != nil {
		yield(nil, f.failed("list", prefix, err))
		return false
	}
	return true
}
