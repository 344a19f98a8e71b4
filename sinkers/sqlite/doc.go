// Package sqlite stores the audit trail in one SQLite file: the sink to begin with, which needs no
// server, and enough for one worker process (some tens of thousands of events a second).
//
// There is one writer. [Open] takes a lock beside the database (PATH.lock), held until Close or the end of
// the process, and a second writer gets [ErrLocked] or waits. Readers ([Config.ReadOnly]) need no lock
// and never wait for the writer: SQLite's write-ahead log keeps them apart.
//
// A write is one transaction with synchronous=FULL: when it has returned, its rows survive a power
// cut. The file is made with mode 0600.
package sqlite
