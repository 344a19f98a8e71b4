package sinkertest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// ledger reads the ledger; times are left out unless they are absurd.
func (e *env) ledger(l sinkers.Ledger, s sinkers.Scan) (entries []sinkers.LedgerEntry) {
	e.Helper()
	for entry, err := range l.ReadLedger(e.ctx, s) {
		if err != nil {
			e.Fatalf("ReadLedger %+v: %v", s, err)
		}
		if entry.Time.IsZero() || entry.Time.Location() != time.UTC {
			e.Errorf("ReadLedger yielded the time %v", entry.Time)
		}
		entry.Time = time.Time{}
		entries = append(entries, entry)
	}
	return entries
}

func (e *env) explains(l sinkers.Ledger, s sinkers.Scan, want ...sinkers.LedgerEntry) {
	e.Helper()
	if got := e.ledger(l, s); !slices.Equal(got, want) {
		e.Fatalf("ReadLedger %+v yielded\n%+v; want\n%+v", s, got, want)
	}
}

func entry(tenant, source string, from, to uint64, reason sinkers.LedgerReason) sinkers.LedgerEntry {
	return sinkers.LedgerEntry{Tenant: tenant, Source: source, From: from, To: to, Reason: reason}
}

func (e *env) append(l sinkers.Ledger, entries ...sinkers.LedgerEntry) {
	e.Helper()
	for i := range entries {
		entries[i].Time = start
	}
	if err := l.AppendLedger(e.ctx, entries); err != nil {
		e.Fatalf("AppendLedger: %v", err)
	}
}

// ledgerAppended: entries merge however they come, again and again.
func ledgerAppended(e *env) {
	l, ok := companion[sinkers.Ledger](e, "Ledger")
	if !ok {
		return
	}
	e.explains(l, sinkers.Scan{AllTenants: true})
	e.append(l)
	const conflict, dead = sinkers.LedgerConflict, sinkers.LedgerDeadLetter
	e.append(l, entry("a", "s", 5, 9, conflict), entry("a", "s", 20, 20, conflict), entry("a", "s", 3, 3, dead))
	e.append(l, entry("a", "s", 10, 12, conflict), entry("a", "s", 4, 4, conflict))
	e.append(l, entry("a", "s", 19, 21, conflict), entry("a", "s", 5, 9, conflict), entry("a", "s", 7, 7, conflict))
	e.append(l, entry("a", "s2", 13, 13, conflict), entry("b", "s", 13, 13, conflict))
	e.explains(l, sinkers.Scan{Tenant: "a"}, entry("a", "s", 4, 12, conflict), entry("a", "s", 19, 21, conflict),
		entry("a", "s", 3, 3, dead), entry("a", "s2", 13, 13, conflict))
	e.append(l, entry("a", "s", 1, 30, conflict))
	e.explains(l, sinkers.Scan{Tenant: "a"}, entry("a", "s", 1, 30, conflict), entry("a", "s", 3, 3, dead),
		entry("a", "s2", 13, 13, conflict))
	e.explains(l, sinkers.Scan{Tenant: "b"}, entry("b", "s", 13, 13, conflict))
	e.explains(l, sinkers.Scan{Tenant: "nobody"})

	random := rand.New(rand.NewPCG(3, 4))
	single := random.Perm(200)
	for cut := range slices.Chunk(single, 7) {
		var entries []sinkers.LedgerEntry
		for _, n := range cut {
			entries = append(entries, entry("c", "", uint64(n)+1, uint64(n)+1, dead))
		}
		e.append(l, entries...)
	}
	e.explains(l, sinkers.Scan{Tenant: "c"}, entry("c", "", 1, 200, dead))
}

// ledgerOfActs: what a sink deletes and refuses itself is in the ledger, once.
func ledgerOfActs(e *env) {
	l, ok := companion[sinkers.Ledger](e, "Ledger")
	if !ok {
		return
	}
	r := append(rows("a", 0, 50), rows("b", 0, 50)...)
	bare := event("a", 2)
	bare.ID, bare.Seq = rows("z", 2, 3)[0].ID, 0 // without a sequence there is nothing to explain
	r = append(r, row(bare))
	e.write(r, len(r), 0)
	p, prunes := e.sink.(sinkers.Pruner)
	er, erases := e.sink.(sinkers.Eraser)
	var want []sinkers.LedgerEntry
	if erases {
		actor := r[1].Actor.ID // of every fifth event, from the second
		e.erase(er, sinkers.Erasure{Tenant: "a", ActorID: actor, Before: r[20].Time}, 4)
		for _, seq := range []uint64{2, 7, 12, 17} {
			want = append(want, entry("a", "kit", seq, seq, sinkers.LedgerErased))
		}
		e.explains(l, sinkers.Scan{AllTenants: true}, want...)
		e.refusedAgain(r, sinkers.Result{Erased: 4, Duplicates: len(r) - 4})
		e.explains(l, sinkers.Scan{AllTenants: true}, want...)
	}
	if prunes {
		if _, err := p.Prune(e.ctx, r[10].Time, true); err != nil {
			e.Fatalf("Prune: %v", err)
		}
		e.explains(l, sinkers.Scan{AllTenants: true}, want...)
		for _, n := range []int{10, 30} {
			if _, err := p.Prune(e.ctx, r[n].Time, false); err != nil {
				e.Fatalf("Prune: %v", err)
			}
		}
		e.explains(l, sinkers.Scan{Tenant: "b"}, entry("b", "kit", 1, 30, sinkers.LedgerExpired))
		if res, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: r}); err != nil || res.Expired+res.Erased != 61 {
			e.Fatalf("Write returned %+v, %v; want 61 refused", res, err)
		}
		e.explains(l, sinkers.Scan{Tenant: "b"}, entry("b", "kit", 1, 30, sinkers.LedgerExpired))
	}
	missing := map[uint64]bool{}
	for _, x := range e.ledger(l, sinkers.Scan{Tenant: "a"}) {
		for seq := x.From; seq <= x.To; seq++ {
			missing[seq] = true
		}
	}
	if want := 30; prunes && len(missing) != want {
		e.Fatalf("the ledger explains %d events of a; want %d", len(missing), want)
	}
}

// ledgerOrder: by tenant, source, reason and sequence, in the order of bytes.
func ledgerOrder(e *env) {
	l, ok := companion[sinkers.Ledger](e, "Ledger")
	if !ok {
		return
	}
	var want []sinkers.LedgerEntry
	for _, tenant := range []string{"", "a", "ü"} {
		for _, source := range []string{"", "S", "s"} {
			for _, reason := range []sinkers.LedgerReason{sinkers.LedgerConflict, sinkers.LedgerDeadLetter} {
				want = append(want, entry(tenant, source, 2, 9, reason), entry(tenant, source, 11, 11, reason))
			}
		}
	}
	shuffled := slices.Clone(want)
	rand.New(rand.NewPCG(5, 6)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	e.append(l, shuffled...)
	e.explains(l, sinkers.Scan{AllTenants: true}, want...)
	for _, err := range l.ReadLedger(e.ctx, sinkers.Scan{AllTenants: true}) {
		if err != nil {
			e.Fatalf("ReadLedger: %v", err)
		}
		break // a caller may stop
	}
}
