package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// ledger holds the ids that must be in the database in the end, 16 bytes each: a million are 16 MB.
type ledger struct {
	mu        sync.Mutex
	fired     []firetrail.ID
	recovered []firetrail.ID
}

// expect makes room for n ids, so that none is copied while they are fired.
func (l *ledger) expect(n int64) {
	l.mu.Lock()
	l.fired = slices.Grow(l.fired, int(n))
	l.mu.Unlock()
}

func (l *ledger) addFired(id firetrail.ID) {
	l.mu.Lock()
	l.fired = append(l.fired, id)
	l.mu.Unlock()
}

func (l *ledger) addRecovered(id firetrail.ID) {
	l.mu.Lock()
	l.recovered = append(l.recovered, id)
	l.mu.Unlock()
}

// census is what the database has of a ledger's ids.
type census struct {
	Stored   int // ids that are there
	Missing  int // ids that are not
	Repeated int // ids that are there more than once
	firsts   []firetrail.ID
}

// someMissing is how many missing ids are named.
const someMissing = 5

// sorted returns every id once, in order. It sorts in place, for there may be millions of them.
func (l *ledger) sorted() []firetrail.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fired, l.recovered = append(l.fired, l.recovered...), nil
	slices.SortFunc(l.fired, firetrail.ID.Compare)
	l.fired = slices.Compact(l.fired)
	return l.fired
}

// ask walks through the whole database and counts the ids.
func (l *ledger) ask(ctx context.Context, db sinkers.Scanner) (census, error) {
	ids := l.sorted()
	times := make([]uint8, len(ids))
	for pos, err := range db.Scan(ctx, sinkers.Scan{AllTenants: true}) {
		if err != nil {
			return census{}, fmt.Errorf("asking the database for the ids: %w", err)
		}
		if i, ok := slices.BinarySearchFunc(ids, pos.ID, firetrail.ID.Compare); ok && times[i] < 2 {
			times[i]++
		}
	}
	var c census
	for i, n := range times {
		switch n {
		case 0:
			if c.Missing++; len(c.firsts) < someMissing {
				c.firsts = append(c.firsts, ids[i])
			}
		case 1:
			c.Stored++
		default:
			c.Stored++
			c.Repeated++
		}
	}
	return c, nil
}
