// Package archtest holds the house rules as tests: who may import whom, where the
// heavy clients live, that every package says what it is. The tests read the
// source files themselves, so a bad import is seen at once and never answered from
// a test cache that does not know the file changed.
package archtest
