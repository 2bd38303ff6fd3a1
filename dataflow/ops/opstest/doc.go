// Package opstest is the harness that every operator is held against: it varies
// what must not matter, and checks what a stream promises.
package opstest
