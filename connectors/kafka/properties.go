package kafka

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// properties are a client's settings, by Kafka's own names.
type properties map[string]string

// readProperties reads a properties file; "" has none. Values may refer to secrets
// that lie elsewhere, see resolve.
func readProperties(name string) (properties, error) {
	if name == "" {
		return properties{}, nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("client properties: %w", err)
	}
	p, err := parseProperties(string(raw))
	if err != nil {
		return nil, fmt.Errorf("client properties %s: %w", name, err)
	}
	for k, v := range p {
		if p[k], err = resolve(v); err != nil {
			return nil, fmt.Errorf("client properties %s: %s: %w", name, k, err)
		}
	}
	return p, nil
}

// parseProperties reads the format of java.util.Properties: key=value, key:value
// or key value; lines that begin with # or ! are comments; a backslash at the end
// of a line continues it.
func parseProperties(text string) (properties, error) {
	p := properties{}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for continued(line) {
			line = line[:len(line)-1]
			if i++; i >= len(lines) {
				break
			}
			line += strings.TrimLeft(lines[i], " \t\f")
		}
		key, rest, err := unescapeUntil(line, "=: \t\f")
		if err != nil {
			return nil, err
		}
		rest = strings.TrimLeft(rest, " \t\f")
		if rest != "" && (rest[0] == '=' || rest[0] == ':') {
			rest = strings.TrimLeft(rest[1:], " \t\f")
		}
		value, _, err := unescapeUntil(rest, "")
		if err != nil {
			return nil, err
		}
		p[key] = value
	}
	return p, nil
}

// continued reports whether a line ends with an odd number of backslashes.
func continued(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// unescapeUntil reads s up to the first of the characters that is not escaped.
func unescapeUntil(s, stop string) (string, string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if strings.IndexByte(stop, c) >= 0 {
			return b.String(), s[i:], nil
		}
		if c != '\\' || i+1 == len(s) {
			b.WriteByte(c)
			continue
		}
		i++
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			var r rune
			if _, err := fmt.Sscanf(s[i+1:min(len(s), i+5)], "%04x", &r); err != nil || i+5 > len(s) {
				return "", "", errors.New(`\u without four digits`)
			}
			b.WriteRune(r)
			i += 4
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "", nil
}

// resolve replaces references in a value: ${env:NAME} by an environment variable,
// ${file:PATH:KEY} by a value of another properties file, ${directory:PATH:FILE} by
// a file's text. These are the words of Kafka's own configuration providers. Errors
// name the reference and never a value.
func resolve(value string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(value, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		ref, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", errors.New("a ${ without its }")
		}
		v, err := lookup(ref)
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", ref, err)
		}
		b.WriteString(v)
		value = after
	}
}

func lookup(ref string) (string, error) {
	provider, rest, _ := strings.Cut(ref, ":")
	path, key, two := cutLast(rest, ":")
	switch {
	case provider == "env":
		v, ok := os.LookupEnv(rest)
		if !ok {
			return "", errors.New("the environment has no such variable")
		}
		return v, nil
	case provider == "file" && two:
		raw, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		p, err := parseProperties(string(raw))
		if err != nil {
			return "", err
		}
		v, ok := p[key]
		if !ok {
			return "", errors.New("the file has no such key")
		}
		return v, nil
	case provider == "directory" && two:
		raw, err := os.ReadFile(path + string(os.PathSeparator) + key)
		return strings.TrimRight(string(raw), "\r\n"), err
	}
	return "", errors.New("references are ${env:NAME}, ${file:PATH:KEY}, ${directory:PATH:FILE}")
}
