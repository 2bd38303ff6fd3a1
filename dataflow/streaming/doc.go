// Package streaming runs jobs made of other programs, by the flags and conventions of
// Hadoop Streaming: a mapper and a reducer are commands that read lines and print
// lines, a key is what stands before the first tab, and the lines that reach a reducer
// are sorted by it.
//
// Parse reads the flags; a Spec is what they say, and travels as JSON; Build makes the
// job's graph of it. Programs run in the operator "process" of package ops.
//
// What differs from Hadoop is little, and on purpose:
//
//   - Lines are written as the last program printed them. Hadoop puts a tab behind a
//     line that has none.
//   - The values of a key come in order of their bytes, where Hadoop has no order.
//   - Without a mapper lines pass as they are. Hadoop puts the offset of each before it.
//   - Small files are put together in one task; the mapper still runs once for each.
//   - A combiner runs once over all that a task's mappers printed.
//   - A task that writes no line makes no part: -lazyOutput is always on.
//   - A reducer reads its input after all mappers have ended.
package streaming
