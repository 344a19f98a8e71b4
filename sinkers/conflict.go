package sinkers

import (
	"context"
	"time"
)

// ConflictFinder is a database in which two writers that store the same id at the same time, with different
// content, may not see each other: both rows are there then, and the one that was stored first is what
// queries show. Whoever drives it looks for the others from time to time and makes letters of them.
type ConflictFinder interface {
	// FindConflicts returns the rows that lost against another, of those that were stored since the given
	// time, at most limit. The zero time is for all, which reads every key there is.
	FindConflicts(ctx context.Context, since time.Time, limit int) ([]Conflict, error)
	// DropConflicts deletes the rows that FindConflicts returned, once they are kept elsewhere.
	DropConflicts(ctx context.Context, conflicts []Conflict) error
}

// Conflict is a row that lost against another one with its tenant and id.
type Conflict struct {
	Row
	// Winner is the content hash of the one that queries show.
	Winner [16]byte
}
