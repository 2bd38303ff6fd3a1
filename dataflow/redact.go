package dataflow

import "regexp"

// Redacted stands in errors for what a record holds, where the job was submitted with
// --redact-records.
const Redacted = "[redacted]"

// quotation is what an error's text quotes, as %q and its like do.
var quotation = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\[^']{1,9})'|`[^`]*`")

// A redacted error is another one whose text is not to be shown as it is.
type redacted struct {
	text string
	err  error
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.err }

// RedactError is err with Redacted in place of all that its text quotes, since an error
// about a record quotes what is wrong with it. What the error is stays as it was.
func RedactError(err error) error {
	if err == nil {
		return nil
	}
	return &redacted{RedactText(err.Error()), err}
}

// RedactText does the same to a text.
func RedactText(s string) string { return quotation.ReplaceAllString(s, Redacted) }

// redact is RedactError where the job asks for it.
func (e *Env) redact(err error) error {
	if e.Redact {
		return RedactError(err)
	}
	return err
}
