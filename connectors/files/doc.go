// Package files reads and writes files of any format on any storage. It registers
// the source and the sink of kind "files": cutting files into splits and packing
// small ones, opening byte ranges, and output in two steps. A format (text, csv,
// parquet, ...) lives in a folder of its own below and registers itself; it sees
// one byte range of one file at a time, or one part to be written.
package files
