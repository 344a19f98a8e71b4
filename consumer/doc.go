// Package consumer is the sink worker: it reads audit events from Kafka, writes them to a database in
// batches, and commits an offset only when its record is stored or kept as a dead letter. Make a [Worker]
// with [New] and call [Worker.Run].
//
// A record goes one way through the files of this package:
//
//	fetch.go    poll ─► decode.go   record ─► row, or letter
//	flow.go     what lies between fetch and commit, and how much memory it takes
//	batch.go    rows of all partitions ─► batches, cut at size, bytes, age
//	write.go    batch ─► Sinker, tried again; isolate.go and suspects.go find the rows at fault
//	queue.go    who is in the next batch, and when it is due; pace.go bounds it where others wait
//	circuit.go  what is known of a database that is away, and how it is asked
//	lanes.go    the same for a database per tenant: a lane for each; visit.go writes one
//	letters.go  what can't be stored ─► letter topic and directory
//	conflicts.go  rows that lost against another in the sink ─► letters
//	ledger.go   which events are letters ─► the sink's ledger; prune.go deletes what is expired
//	topics.go   which topics the patterns stand for
//	losses.go   what Kafka deleted before it was read; lag.go and ahead.go: how far it is to the end
//	offsets.go  what is done ─► the low-water mark of its partition; commit.go commits it
//
// Four goroutines carry it: one polls and decodes, one writes, one sends letters, one commits. What they
// share is the flow, behind one mutex that is never held across a call to Kafka or the database.
//
// # What a failing write means
//
// An outage is never poison: no event becomes a dead letter because something was away. And a bad
// record costs itself alone. The two pull in opposite directions whenever an error isn't understood, so
// the worker asks for proof. A row is poison when the sink names it ([sinkers.BatchError]), or when it
// fails by itself, again and again, while the same database stores other new things of its size in the
// meantime: a probe row, where the sink is a [sinkers.Prober], or else other events. Such rows are found by halving the batch,
// or sooner where the sink guesses ([sinkers.Suspect]), which is no proof. Until there is proof
// the row waits, its partition's mark with it, and what else has its id, since the first is to be stored. A batch of which
// nothing can be stored is an outage: the worker keeps it, pauses, and tries again; Kafka is the buffer.
//
// # A database for each tenant
//
// Where the sink is a [sinkers.PerTenant], a tenant's records go a lane of their own, many lanes at a time, each with its own tries,
// suspects and outage. While a tenant's database is away its records wait in memory, which in the end holds up the
// partition ([Pause]), or go to files that the directory's retry engine stores later ([Spill]).
package consumer
