// Package expr is expressions over columns: built by method calls, printed, sent
// as JSON, checked against a schema, and evaluated over Arrow batches by kernels
// that look at a whole column at a time.
//
//	revenue := expr.Col("price").Mul(expr.Lit(1).Sub(expr.Col("discount")))
//
// # Values and types
//
// Columns may be of bool, the integers, floats, decimals, dates, timestamps, text
// and binary; columns of other types can only be passed on. Arithmetic on integers
// gives int64 and fails on overflow; uint64 counts as decimal(20,0). Decimals are
// exact: a sum has the larger scale, a product the sum of the scales, at most 38
// digits. A float makes the other side a float64. Div always gives float64, IntDiv
// and Mod are the integers' own. A failing operation names the values.
//
// # Null and order
//
// Null stands for an unknown value: an operation on null is null, And and Or are
// three-valued, and a filter keeps only rows for which it is true. Comparisons
// follow the order of package order: -0 equals 0, NaN equals NaN and comes behind
// all numbers, text compares by bytes.
package expr
