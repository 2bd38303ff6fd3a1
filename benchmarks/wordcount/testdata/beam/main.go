// Program beam counts the words of a text with Apache Beam's Go SDK and writes a line
// "word TAB count" for each.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/textio"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

func words(line string, emit func(string)) {
	for w := range strings.FieldsSeq(line) {
		emit(w)
	}
}

func row(word string, n int) string { return fmt.Sprintf("%s\t%d", word, n) }

func init() {
	register.Function2x0(words)
	register.Function2x1(row)
	register.Emitter1[string]()
}

func main() {
	flag.Parse()
	beam.Init()
	p, s := beam.NewPipelineWithRoot()
	lines := textio.Read(s, flag.Arg(0))
	counts := stats.Count(s, beam.ParDo(s, words, lines))
	textio.Write(s, flag.Arg(1), beam.ParDo(s, row, counts))
	if err := beamx.Run(context.Background(), p); err != nil {
		log.Fatal(err)
	}
}
