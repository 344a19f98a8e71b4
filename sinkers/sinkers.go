package sinkers

import (
	"context"
	"iter"
	"time"

	"github.com/firetrail/firetrail"
)

// Row is one event to be stored, with its content hash.
type Row struct {
	firetrail.Event
	// Hash is the event's content hash (firetrail.Event.ContentHash), computed once by the worker.
	Hash [16]byte
}

// Batch is what one Write stores.
type Batch struct {
	// Rows in the order they were read. Two of them may have the same tenant and id.
	Rows []Row
}

// Result accounts for every row of a batch: Stored + Duplicates + len(Conflicts) + Expired + Erased
// is len(Batch.Rows).
type Result struct {
	Stored     int // rows that are new in the database
	Duplicates int // rows that were there already, with the same content
	Expired    int // rows older than the retention, or than a Prune; not stored
	Erased     int // rows that an erasure covers (see Eraser); not stored
	// Conflicts are the indexes, ascending, of the rows whose tenant and id were there already with other
	// content. The stored one was left as it is.
	Conflicts []int
	// StoredHashes are, by the index of each conflicting row, the content hashes of what is stored in its place: so that
	// the dead letter shows both. See Conflict.
	StoredHashes map[int][16]byte
}

// Conflict counts row i as a conflict with a stored one of this hash.
func (r *Result) Conflict(i int, stored [16]byte) {
	r.Conflicts = append(r.Conflicts, i)
	if r.StoredHashes == nil {
		r.StoredHashes = map[int][16]byte{}
	}
	r.StoredHashes[i] = stored
}

// Sinker is a database that events are stored in. It starts no goroutine of its own on behalf of a write:
// whoever calls it owns concurrency, batching and retry. All methods may be called concurrently.
type Sinker interface {
	// Write stores the batch, idempotently: a row whose tenant and id are there already is counted as a
	// duplicate or a conflict and changes nothing. It stores all of the batch or none, and returns an
	// error in the second case: a *BatchError where rows are at fault and it can tell which, one
	// marked by Permanent where it can only tell that trying again is of no use, any other for what
	// may pass. An error of the last two kinds may come with a guess at the row: see Suspect. It must not keep b.Rows. Where the database's answer may be lost on the way, an error
	// of the last kind leaves open which of the two it was: the rows are duplicates then, when they come again.
	Write(ctx context.Context, b Batch) (Result, error)
	// Query returns a page of events, newest first.
	Query(ctx context.Context, q Query) (Page, error)
	// Ping does a round trip to the database and reports why it can't be used.
	Ping(ctx context.Context) error
	// Close releases everything. It is idempotent.
	Close() error
}

// The optional companions of a Sinker, found by type assertion. Eraser and Ledger are two more.
type (
	// Pruner can delete what is older than a time.
	Pruner interface {
		// Prune deletes the events that happened before the given time, which can't be in the future, and
		// returns how many; with dryRun it only counts them. The cut-off is kept, and from then on
		// Write refuses what is older, as Result.Expired, so that no replay brings it back. What was
		// deleted is in the ledger. It also goes on with erasures that were cut off, which it does not
		// count. An error comes with the number deleted until then.
		Prune(ctx context.Context, before time.Time, dryRun bool) (int64, error)
	}
	// Scanner can walk through everything stored.
	Scanner interface {
		// Scan yields the position of every stored event of s, ordered by tenant, source and seq.
		// An error is yielded once, last.
		Scan(ctx context.Context, s Scan) iter.Seq2[Position, error]
	}
	// Prober can tell a database that takes nothing from one that refuses certain rows.
	Prober interface {
		// Probe writes a new row of about size bytes to a table kept for this, durably, and removes
		// it again. Nil means that the database stores things.
		Probe(ctx context.Context, size int) error
	}
	// TenantLister can name the tenants it has events of.
	TenantLister interface {
		// Tenants yields every tenant, in order. An error is yielded once, last.
		Tenants(ctx context.Context) iter.Seq2[string, error]
	}
)

// Scan says what a Scanner walks through.
type Scan struct {
	// Tenant whose events; "" is the default tenant.
	Tenant string
	// AllTenants takes every tenant, and ignores Tenant.
	AllTenants bool
}

// Position says where an event stands.
type Position struct {
	Tenant, Source string
	Seq            uint64
	ID             firetrail.ID
	Time           time.Time
	// Closes says that the event is the last of its source: its action is firetrail.SourceClosed.
	Closes bool
}
