package kafka

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

// testJob runs a text job from a topic to a topic: the word becomes the key and the
// count the value.
func testJob(t *testing.T, p *place) {
	binary := filepath.Join(t.TempDir(), "wordcount")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../examples/wordcount")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	in, out := p.topic(t, 3), p.topic(t, 2)
	words := map[string]int{}
	var messages []kafkago.Message
	for i := range 3000 {
		w := fmt.Sprintf("w%d", i*i%97)
		words[w] += 2
		words["and"]++
		messages = append(messages, message(i%3, "", w+" and\n"+w))
	}
	p.write(t, in, messages...)
	cmd := exec.CommandContext(t.Context(), binary, "--parallelism", "2", "--progress", "none", p.uri(in, "from=earliest", "to=latest"), "kafka:///"+out)
	cmd.Env = append(cmd.Environ(), BootstrapEnv+"="+p.Bootstrap)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var want []string
	for w, n := range words {
		want = append(want, fmt.Sprintf("%q=\"%d\"", w, n))
	}
	slices.Sort(want)
	equal(t, "counts", p.committed(t, out), want)
	if left := p.open(t); len(left) > 0 {
		t.Errorf("left open: %v", left)
	}
}
