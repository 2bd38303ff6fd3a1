package divisipb

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
)

// spec of a publish with so many receipts of so many bytes.
func spec(n, size int) *TaskSpec {
	t := &TaskSpec{Id: &TaskID{Job: "j", Stage: -3, Attempt: 7}, Kind: TaskKind_TASK_KIND_PUBLISH, Target: 2}
	for i := range n {
		t.Receipts = append(t.Receipts, append(bytes.Repeat([]byte{'x'}, size), fmt.Sprint(i)...))
	}
	return t
}

func TestPages(t *testing.T) {
	const most = 1 << 20
	for _, c := range []struct{ n, size, pages int }{
		{0, 0, 1}, {1, 10, 1}, {1, 3 * most, 1}, {3, 2 * most, 3}, {1000, 0, 1}, {100_000, 250, 25}, {5, most/2 - 10, 3},
	} {
		want := spec(c.n, c.size)
		sent := proto.Clone(want).(*TaskSpec).Pages(most)
		if len(sent) != c.pages {
			t.Errorf("%d receipts of %d bytes: %d pages, want %d", c.n, c.size, len(sent), c.pages)
		}
		var l Launches
		other := &TaskSpec{Id: &TaskID{Job: "j", Stage: -3, Attempt: 8}}
		for i, p := range sent {
			b, err := proto.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > most+c.size+1000 {
				t.Errorf("a page of %d bytes", len(b))
			}
			got := &TaskSpec{}
			if err := proto.Unmarshal(b, got); err != nil {
				t.Fatal(err)
			}
			got = l.Add(got)
			if last := i == len(sent)-1; last != (got != nil) || last && !proto.Equal(got, want) {
				t.Fatalf("%d receipts of %d bytes: after page %d of %d: %v", c.n, c.size, i+1, len(sent), got != nil)
			}
			if l.Add(other) != other {
				t.Fatal("another launch between the pages")
			}
		}
		if len(l.begun) > 0 {
			t.Error("something is kept")
		}
	}
}
