package streaming

import (
	"fmt"
	"path/filepath"
	"strings"
)

// splitCommand takes a command apart at its spaces, but for those between quotes of
// either kind, which are left out. There is no shell: nothing else has a meaning.
func splitCommand(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun, quote := false, byte(0)
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '"' || c == '\'':
			quote, begun = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if begun {
				words = append(words, word.String())
				word.Reset()
				begun = false
			}
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("command %s: a quote %c is not closed", text, quote)
	}
	if begun {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, fmt.Errorf("command %q names no program", text)
	}
	return words, nil
}

// command is the words of a command. A program that is shipped is called by the name
// that it has there, wherever it lies here.
func (s *Spec) command(text string) ([]string, error) {
	words, err := splitCommand(text)
	if err != nil || !strings.Contains(words[0], "/") {
		return words, err
	}
	for _, f := range s.Files {
		if samePath(f.Path, words[0]) {
			words[0] = f.Name
			break
		}
	}
	return words, nil
}

func samePath(a, b string) bool {
	x, err := filepath.Abs(a)
	y, err2 := filepath.Abs(b)
	return err == nil && err2 == nil && x == y
}

// javaClass says whether a command is the name of a class of Hadoop's or of one's own.
func javaClass(text string) bool {
	return strings.HasPrefix(text, "org.apache.hadoop.") && !strings.Contains(text, " ")
}
