// Package sinkers says what a database must do to store the audit trail: the [Sinker] interface and its
// optional companions, the rows it is given, the queries it answers, and the kinds of errors it returns.
//
// What an error of a Write says decides what happens to the rows: a [BatchError] names those at fault, [Permanent] marks one
// that won't pass, [Suspect] a guess at the row, and any other is taken for an outage.
//
// The databases live below it, one package each. Whoever writes another runs the conformance kit of
// package sinkertest over it.
package sinkers
