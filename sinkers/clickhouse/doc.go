// Package clickhouse stores the audit trail in a ClickHouse database, which several workers may write to and
// which grows far beyond one machine's SQLite file.
//
// ClickHouse has no unique keys, so that an event is stored once by four means. A write looks up which
// of its rows are there before it ends its insert, without which the server stores nothing, and sends the others alone: that is
// what makes the counts of a [sinkers.Result] and finds conflicts. The insert carries a token made of the rows themselves, so that the server drops it when a
// lost answer makes it come twice. The table replaces rows with equal keys and content, so that what two
// workers stored at the same time becomes one row in a merge. And every read takes, of rows that have
// one tenant and id, the one that was inserted first: so that a forged row is never visible, whatever the
// merges are at. The key and the partition (a month) of a row come from its event alone, so that all this holds
// however often and in whatever cuts the topic is read again.
//
// A batch over several months is stored a month at a time: a server killed in between has stored some months of
// it, and the worker's next try the rest.
//
// There is one database for all tenants: one each would be a table each, of which a server with thousands would do
// nothing but merge. It is tested with ClickHouse 26.9, a single server.
package clickhouse
