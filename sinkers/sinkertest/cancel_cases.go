package sinkertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

func cancelled(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	_, err := e.sink.Write(ctx, sinkers.Batch{Rows: rows("a", 0, 100)})
	switch {
	case err == nil:
		e.Fatal("Write with a cancelled context returned no error")
	case sinkers.IsPermanent(err):
		e.Fatalf("Write with a cancelled context returned a permanent error: %v", err)
	case !errors.Is(err, context.Canceled):
		e.Fatalf("Write with a cancelled context returned %v; want context.Canceled within", err)
	}
	e.holds(sinkers.Query{AllTenants: true}, nil)
}

// cancelledOnTheWay: whenever the context ends, either all is stored and Write says so, or nothing is. Only where
// an answer may be lost can it be all without a word.
func cancelledOnTheWay(e *env) {
	r := rows("a", 0, min(e.kit.large, 2_000))
	for _, d := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, time.Minute} {
		ctx, cancel := context.WithTimeout(e.ctx, d)
		res, err := e.sink.Write(ctx, sinkers.Batch{Rows: r})
		cancel()
		if err != nil {
			if sinkers.IsPermanent(err) {
				e.Fatalf("Write cancelled after %s returned a permanent error: %v", d, err)
			}
			if q := (sinkers.Query{AllTenants: true, Limit: sinkers.MaxLimit}); !e.kit.lossy || len(e.all(q)) != len(r) {
				e.holds(q, nil)
			}
			continue
		}
		e.sums(res, len(r))
		e.holds(sinkers.Query{AllTenants: true, Limit: sinkers.MaxLimit}, r)
		return
	}
	e.Fatal("Write was not through in a minute")
}

func concurrentWriters(e *env) {
	const writers = 4
	all := append(rows("a", 0, 300), rows("b", 0, 300)...)
	results := make([]int, writers)
	var wait sync.WaitGroup
	for w := range writers {
		random := rand.New(rand.NewPCG(uint64(w), 1))
		mine := slices.Clone(all)
		random.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		wait.Go(func() {
			for cut := range slices.Chunk(mine, 60) {
				res, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: cut})
				if err != nil || res.Stored+res.Duplicates != len(cut) {
					e.Errorf("Write returned %+v, %v", res, err)
				}
				results[w] += res.Stored
			}
		})
	}
	wait.Wait()
	total := 0
	for _, n := range results {
		total += n
	}
	if total != len(all) {
		e.Errorf("%d writers stored %d rows in all; want %d", writers, total, len(all))
	}
	e.holds(sinkers.Query{AllTenants: true}, all)
}
