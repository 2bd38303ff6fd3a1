// Package proto holds the messages and services that components speak; divisipb is
// what is generated of them (make generate).
package proto
