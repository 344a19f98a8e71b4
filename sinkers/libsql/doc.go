// Package libsql stores the audit trail in a libSQL database: a sqld of one's own or Turso, over HTTP or
// WebSocket. The schema and its SQL are those of package sqlite.
//
// A write is one statement in one round trip, which the server stores as a whole or not at all, as far as it
// takes no more than some 4 MB; a larger one is a transaction. What a tombstone, the retention or a prune
// refuses is refused in that statement.
//
// There is one writer a database, as many at a time can bring the server to a halt. [Open] takes a lease, a row
// in the database that the server's clock expires; a second writer gets [ErrLeased] or waits, and takes over
// once the first has ended, or stood still for [Config.LeaseTTL]. Every insert asks for the lease in its own
// statement, so that a writer that stood still and goes on stores nothing. Where something else sees to it that
// there is one writer, such as a database per tenant, [Config.NoLease] does without.
//
// When a call is cancelled, its statement may be on its way to the server. A Write whose context ends waits for
// the answer, for [Grace] at the most, and only then says that it has failed; what was on its way may still be
// stored then, which the next try finds as duplicates.
//
// The server keeps the bytes of erased rows in its files until their place is needed.
package libsql
