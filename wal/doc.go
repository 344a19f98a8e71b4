// Package wal is a durable log of opaque byte records for one writer process: what the producer puts
// every event into before Fire returns. It knows neither Kafka nor events.
//
// A record goes through three parts, and only forward:
//
//	Append ─► staging ring ─► segments ─► Reader … Release
//	          (a mapping)     (files)
//
// [Log.Append] frames the record, with a checksum and a sequence, and copies it into a small
// memory-mapped ring: no system call, no allocation, some 100 ns. The mapping belongs to the kernel's
// page cache, so what lies there survives a kill -9. One goroutine copies the ring to segment files
// every millisecond and syncs them by [SyncPolicy]; room in the ring is used again only after that sync.
// A [Reader] returns the records in order; [Log.Release] moves the mark below which they are done with,
// and segments wholly below it are deleted.
//
// When the ring is full or the disk refuses or hangs, records go to a bounded queue in memory. The log is
// Degraded then, which it says in [Stats] and to [Config].OnState (a ring that is full for less than a second
// is counted alone); it becomes whole again by itself. The
// memory version of a log ([OpenMemory]) is the same type with that queue alone.
//
// README.md beside this file has the crash contract: what is assumed of the disk, and for each
// operation what is there after a crash in it. format.go has the bytes.
package wal
