package sinkertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

func allFields(e *env) {
	full := event("acme", 1)
	full.Actor = firetrail.Actor{Type: "user", ID: "u1", Name: "Ada"}
	full.Old, full.New = firetrail.Raw([]byte(`{"a":1}`)), firetrail.Raw([]byte(`{"a":2}`))
	full.Metadata, full.Extra = firetrail.Raw([]byte(`["m"]`)), firetrail.Raw([]byte(`{"x":"y"}`))
	full.Outcome = firetrail.Denied
	full.Request = firetrail.Request{
		IP: "2001:db8::1", UserAgent: "curl/8", ID: "req-1",
		Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	full.Truncated = firetrail.TruncatedOld | firetrail.TruncatedText
	bare := event("acme", 2)
	bare = firetrail.Event{ID: bare.ID, Tenant: bare.Tenant, Action: bare.Action, Time: bare.Time}
	huge := event("acme", 3)
	huge.Seq = 1<<64 - 1
	r := []sinkers.Row{row(full), row(bare), row(huge)}
	e.write(r, 3, 0)
	e.holds(sinkers.Query{Tenant: "acme"}, r)
}

func values(e *env) {
	var r []sinkers.Row
	big := `"` + strings.Repeat("x", firetrail.MaxPayload-2) + `"`
	for i, v := range []string{
		`null`, `true`, `0`, `-1.50`, `12345678901234567890.123456789`, `""`, `"a\u0000b"`, `"\ud83d\ude00 😀"`,
		`{}`, `[]`, `{"nested":[{"deep":[[[1]]]}]}`, `{"quote":"'; DROP TABLE audit_events; --"}`, `"\\ \" \/"`, big,
	} {
		ev := event("", i)
		ev.New, ev.Metadata = firetrail.Raw([]byte(v)), firetrail.Value{}
		r = append(r, row(ev))
	}
	e.write(r, len(r), 0)
	e.holds(sinkers.Query{}, r)
}

func unicodeTexts(e *env) {
	var r []sinkers.Row
	for i, s := range []string{
		"Ünïcödé", "日本語", "😀👩‍👩‍👧", "e\u0301", "\u00e9", "العربية", "a'b\"c`d", "%_\\", "tab\tline\n", " lead and trail ",
		"\ufeffbom", "nul\x00inside", strings.Repeat("ж", firetrail.MaxText/2),
	} {
		ev := event("тенант", i)
		ev.Actor = firetrail.Actor{Type: s, ID: s, Name: s}
		ev.Entity = firetrail.Entity{Type: s, ID: s}
		ev.Request = firetrail.Request{IP: s, UserAgent: s, ID: s, Traceparent: s}
		ev.Source = s
		r = append(r, row(ev))
	}
	e.write(r, len(r), 0)
	e.holds(sinkers.Query{Tenant: "тенант"}, r)
	for i := range r {
		e.holds(sinkers.Query{Tenant: "тенант", ActorID: r[i].Actor.ID}, r[i:i+1])
		e.holds(sinkers.Query{Tenant: "тенант", EntityID: r[i].Entity.ID}, r[i:i+1])
	}
}

func edgesOfTime(e *env) {
	var r []sinkers.Row
	for i, at := range []time.Time{
		time.Unix(0, 0), time.UnixMicro(1), time.UnixMicro(999), time.UnixMilli(1),
		time.Date(2023, 12, 31, 23, 59, 59, 999_999_000, time.UTC), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), time.Date(2024, 2, 29, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(2024, 3, 31, 2, 30, 0, 1_000, time.FixedZone("", 7200)),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), time.Date(2199, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		ev := event("", i)
		ev.Time, ev.Recorded, ev.ID = at.UTC(), at.UTC(), firetrail.IDFrom(at, fmt.Sprint(i))
		r = append(r, row(ev))
	}
	e.write(r, len(r), 0)
	e.holds(sinkers.Query{}, r)
	for i := range r {
		at := r[i].Time
		e.holds(sinkers.Query{From: at, To: at.Add(time.Microsecond)}, r[i:i+1])
	}
}

func emptyBatch(e *env) {
	e.write(nil, 0, 0)
	e.holds(sinkers.Query{AllTenants: true}, nil)
}

func largeBatch(e *env) {
	n := e.kit.large
	var r []sinkers.Row
	for i := range n {
		r = append(r, row(event(fmt.Sprint("tenant ", i%20), i)))
	}
	e.write(r, n, 0)
	e.write(r, 0, n)
	e.holds(sinkers.Query{AllTenants: true, Limit: sinkers.MaxLimit}, r)
}

func writtenAgain(e *env) {
	r := rows("acme", 0, 120)
	e.write(r, 120, 0)
	e.write(r, 0, 120)
	slices.Reverse(r)
	e.write(r, 0, 120)
	e.holds(sinkers.Query{Tenant: "acme"}, r)
}

func otherCuts(e *env) {
	r := append(rows("a", 0, 100), rows("b", 0, 100)...)
	stored := 0
	random := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		random.Shuffle(len(r), func(i, j int) { r[i], r[j] = r[j], r[i] })
		for cut := range slices.Chunk(r, 1+random.IntN(70)) {
			res, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: cut})
			if err != nil {
				e.Fatalf("Write: %v", err)
			}
			e.sums(res, len(cut))
			stored += res.Stored
		}
	}
	if stored != len(r) {
		e.Fatalf("%d rows stored in all; want %d", stored, len(r))
	}
	e.holds(sinkers.Query{AllTenants: true}, r)
}

func overlap(e *env) {
	e.write(rows("a", 0, 100), 100, 0)
	e.write(rows("a", 60, 160), 60, 40)
	e.write(append(rows("b", 0, 10), rows("a", 150, 170)...), 20, 10)
	e.holds(sinkers.Query{Tenant: "a"}, rows("a", 0, 170))
}

func twiceInBatch(e *env) {
	r := rows("a", 0, 80)
	e.write(append(slices.Clone(r), r...), 80, 80)
	two := rows("a", 80, 81)
	e.write([]sinkers.Row{two[0], two[0], two[0]}, 1, 2)
	e.holds(sinkers.Query{Tenant: "a"}, append(r, two...))
}

func conflict(e *env) {
	r := rows("a", 0, 100)
	e.write(r, 100, 0)
	again := append(rows("a", 90, 110), rows("b", 0, 3)...)
	again[3], again[7] = changed(again[3]), changed(again[7])
	e.write(again, 13, 8, 3, 7)
	e.write(again, 0, 21, 3, 7)
	res, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: again})
	if err != nil {
		e.Fatalf("Write: %v", err)
	}
	e.storedHashes(res, map[int]sinkers.Row{3: r[93], 7: r[97]})
	e.holds(sinkers.Query{Tenant: "a"}, rows("a", 0, 110))
}

// storedHashes holds what a result says that the conflicting rows met to the rows that they did.
func (e *env) storedHashes(res sinkers.Result, want map[int]sinkers.Row) {
	e.Helper()
	for i, r := range want {
		if hash, ok := res.StoredHashes[i]; !ok || hash != r.Hash {
			e.Errorf("row %d conflicts with a stored hash of %x (known: %t); want %x", i, hash, ok, r.Hash)
		}
	}
	if len(res.StoredHashes) != len(want) {
		e.Errorf("%d hashes of stored events for %d conflicts", len(res.StoredHashes), len(want))
	}
}

func conflictInBatch(e *env) {
	first := rows("a", 5, 6)[0]
	batch := append(rows("b", 0, 2), first, changed(first), first)
	res, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: batch})
	if err != nil {
		e.Fatalf("Write: %v", err)
	}
	if e.sums(res, len(batch)); res.Stored != 3 || res.Duplicates != 1 || !equal(res.Conflicts, []int{3}) {
		e.Fatalf("Write returned %+v; want 3 stored, 1 duplicate, a conflict of row 3", res)
	}
	e.storedHashes(res, map[int]sinkers.Row{3: first})
	e.holds(sinkers.Query{Tenant: "a"}, []sinkers.Row{first})
}

func sameIDTwoTenants(e *env) {
	one := event("a", 1)
	other := one
	other.Tenant = "b"
	r := []sinkers.Row{row(one), row(other)}
	e.write(r, 2, 0)
	e.holds(sinkers.Query{Tenant: "b"}, r[1:])
	e.holds(sinkers.Query{AllTenants: true}, r)
}

// unfitRow: a row that can't be an event is refused by index, and takes none of the batch with it into
// the database.
func unfitRow(e *env) {
	r := append(rows("b", 0, 60), rows("a", 0, 60)...)
	if e.kit.split {
		r = rows("a", 0, 120)
	}
	r[3].Action = firetrail.Name{}
	r[100].ID = firetrail.ID{}
	_, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: r})
	e.refused(err, 3, 100)
	e.holds(sinkers.Query{AllTenants: true}, nil)
	good := slices.Delete(slices.Clone(r), 100, 101)
	good = slices.Delete(good, 3, 4)
	e.write(good, len(good), 0)
}

func (e *env) refused(err error, indexes ...int) {
	e.Helper()
	var batch *sinkers.BatchError
	if !errors.As(err, &batch) {
		e.Fatalf("Write returned %v; want a *sinkers.BatchError", err)
	}
	var got []int
	for _, r := range batch.Rows {
		if r.Err == nil {
			e.Errorf("row %d is refused without an error", r.Index)
		}
		got = append(got, r.Index)
	}
	if !equal(got, indexes) {
		e.Fatalf("Write refused rows %v (%v); want %v", got, err, indexes)
	}
}

// refusedRows: what the database refuses is a data error, and takes none of the batch with it into the database. The Sinker may name
// the rows, or some of them, or suspect one: by their index in the batch, of which not all was to be stored.
func refusedRows(e *env) {
	if e.kit.refusing == nil {
		e.pass("Refusing")
		return
	}
	const refused = "course.refused"
	e.sink = e.kit.refusing(e.T, refused)
	defer func() { _ = e.sink.Close() }()
	r := rows("a", 0, 70)
	e.write(r[10:20], 10, 0)
	batch := slices.Concat(r[:40], []sinkers.Row{r[5], changed(r[6]), changed(r[12])}, r[40:])
	refuses := func(r sinkers.Row) bool { return r.Action.String() == refused }
	for _, i := range []int{3, 21, 22, 39, 45, 72} {
		batch[i].Action = name(refused)
		batch[i] = row(batch[i].Event)
	}
	for slices.ContainsFunc(batch, refuses) {
		_, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: batch})
		if !sinkers.IsPermanent(err) {
			e.Fatalf("Write returned %v; want an error marked by sinkers.Permanent", err)
		}
		e.holds(sinkers.Query{AllTenants: true}, r[10:20])
		var named *sinkers.BatchError
		var found []int
		if i, ok := sinkers.Suspected(err); ok {
			found = []int{i}
		} else if errors.As(err, &named) {
			for _, r := range named.Rows {
				found = append(found, r.Index)
			}
		} else {
			found = []int{slices.IndexFunc(batch, refuses)}
		}
		for n, i := range found {
			at := i - n
			if at < 0 || at >= len(batch) || !refuses(batch[at]) {
				e.Fatalf("Write found fault with row %d, which is good: %v", i, err)
			}
			batch = slices.Delete(batch, at, at+1)
		}
	}
	e.write(batch, 54, 11, 37, 38)
}

// notUTF8: a database keeps such bytes as they are, or refuses the row that has them.
func notUTF8(e *env) {
	r := rows("a", 0, 3)
	r[1].Actor.Name = "caf\xe9"
	r[1] = row(r[1].Event)
	if _, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: r}); err != nil {
		e.refused(err, 1)
		r = nil
	}
	e.holds(sinkers.Query{Tenant: "a"}, r)
}

// rowsNotKept: the caller reuses what it passed to Write.
func rowsNotKept(e *env) {
	r := rows("a", 0, 10)
	raw := []byte(`{"kept":"yes"}`)
	r[4].New = firetrail.Raw(raw)
	r[4] = row(r[4].Event)
	e.write(r, 10, 0)
	copy(raw, `{"kept":"no!"}`)
	clear(r)
	want := rows("a", 0, 10)
	want[4].New = firetrail.Raw([]byte(`{"kept":"yes"}`))
	e.holds(sinkers.Query{Tenant: "a"}, want)
}
