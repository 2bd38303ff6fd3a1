// Package order is the order of rows: keys of rows as bytes that compare like the
// rows do, a radix sort over them, a merge of sorted streams, and the gather that
// puts rows of many batches into one.
//
// Values of a column are ordered thus: nulls first; false before true; numbers by
// size, with -0 equal to 0 and all NaNs equal and last; text and bytes by their
// bytes; structs by their fields in turn; lists by their elements in turn, a
// shorter one before those that continue it; dictionaries by their values. A
// descending key turns all of that around, nulls included.
package order
