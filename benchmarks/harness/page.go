package harness

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// WritePage makes docs/README.md, tables and plots, of all results/*.json.
func WritePage(results, docs string) error {
	names, err := filepath.Glob(filepath.Join(results, "*.json"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(docs, 0o755); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nMade from `benchmarks/results/*.json` by `make bench`: contenders run in turn, after a round that does not count, and another one begins each round; medians are quoted, every whole output is compared with an independent program's. A ratio above 1 is slower than the first row.\n")
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var r Result
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s, %d cores, %.0f GiB, %s, %s.\n", r.Name, r.Machine.CPU, r.Machine.Cores, float64(r.Machine.Memory)/(1<<30), r.Machine.OS, r.Machine.Go)
		for i, row := range r.Rows {
			b.WriteString(table(row))
			plot := fmt.Sprintf("%s-%d.svg", r.Name, i)
			if err := os.WriteFile(filepath.Join(docs, plot), []byte(svg(row)), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(&b, "\n![%s](%s)\n", row.Work, plot)
		}
	}
	return os.WriteFile(filepath.Join(docs, "README.md"), []byte(b.String()), 0o644)
}

func table(row Row) string {
	var b strings.Builder
	amount, done := "MB per CPU s", float64(row.Bytes)/1e6
	if row.Items > 0 {
		amount, done = row.Item+"s per CPU s", float64(row.Items)
	}
	fmt.Fprintf(&b, "\n### %s, %s\n\n| contender | version | wall s (min – max) | CPU s | %s | peak MiB | ratio | output |\n|---|---|---|---|---|---|---|---|\n", row.Work, row.Size, amount)
	for _, c := range row.Contenders {
		if c.Error != "" {
			fmt.Fprintf(&b, "| %s | %s | – | – | – | – | – | failed: %s |\n", c.Name, c.Version, cell(c.Error))
			continue
		}
		low, high := c.Seconds[0], c.Seconds[0]
		for _, s := range c.Seconds {
			low, high = min(low, s), max(high, s)
		}
		fmt.Fprintf(&b, "| %s | %s | %.2f (%.2f – %.2f) | %.2f | %.0f | %d | %.2f | right |\n",
			c.Name, cell(c.Version), c.Median(), low, high, c.MedianCPU(), done/c.MedianCPU(), c.Peak>>20, c.Ratio)
	}
	b.WriteString(costs(row))
	for _, c := range row.Contenders {
		for _, name := range slices.Sorted(maps.Keys(c.Figures)) {
			fmt.Fprintf(&b, "\n* %s: %s: %s", c.Name, name, strconv.FormatFloat(math.Round(c.Figures[name]*100)/100, 'f', -1, 64))
		}
		if len(c.Figures) > 0 {
			b.WriteString("\n")
		}
	}
	return b.String()
}

// costs is a second table, where there is something to say in it.
func costs(row Row) string {
	var b strings.Builder
	for _, c := range row.Contenders {
		if c.Cost == nil || c.Error != "" {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "\nWhat %q takes more, in percent of its own time: the median of the differences within a round, and between what that lies with a certainty of 95 %% (with fewer than six rounds: of all).\n\n| than | wall | CPU |\n|---|---|---|\n", row.Contenders[0].Name)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Name, c.Cost.Wall, c.Cost.CPU)
	}
	return b.String()
}

func cell(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ReplaceAll(s, "|", "\\|")
}

// svg draws a bar per contender, as long as its median.
func svg(row Row) string {
	const bar, label, width = 26, 230, 420
	var longest float64
	for _, c := range row.Contenders {
		longest = max(longest, c.Median())
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", label+width+80, bar*len(row.Contenders)+10)
	for i, c := range row.Contenders {
		y := i*bar + 5
		w := 0.0
		if longest > 0 {
			w = c.Median() / longest * width
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#666">%s</text><rect x="%d" y="%d" width="%.0f" height="%d" fill="%s"/><text x="%.0f" y="%d" fill="#666">%.2f s</text>`+"\n",
			label-8, y+15, escape(c.Name), label, y, w, bar-8, color(i), float64(label)+w+6, y+15, c.Median())
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}

func color(i int) string {
	if i == 0 {
		return "#2a7f62"
	}
	return "#9aa5b1"
}
