package libsql

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// defaultScanKeeps is how many positions of a tenant are put in order at a time; twice as many take 40 MB.
const defaultScanKeeps = 500_000

// Scan implements sinkers.Scanner. The server counts a tenant's events and then walks through them once, in pages along their key,
// and once more for every half a million of them: it can't send an ordered answer of any length, and to order it anew for
// each page would take the square of the time. They are put in order here. What is stored meanwhile is left out.
func (s *Sink) Scan(ctx context.Context, scan sinkers.Scan) iter.Seq2[sinkers.Position, error] {
	return backend.Stream(ctx, s.begin, s.fail, "scan", func(ctx context.Context, yield func(sinkers.Position, error) bool) error {
		return backend.ScanTenants(ctx, scan, yield, s.tenants, s.scanTenant)
	})
}

func (s *Sink) tenants(ctx context.Context) (all []string, err error) {
	err = s.eachTenant(ctx, func(t string) bool {
		all = append(all, t)
		return true
	})
	return all, err
}

// scanTenant returns whether the caller wants more.
func (s *Sink) scanTenant(ctx context.Context, tenant string, yield func(sinkers.Position, error) bool) (bool, error) {
	sources, newest, err := s.sources(ctx, tenant)
	if err != nil {
		return false, err
	}
	o := &ordering{keep: s.scanKeeps}
	for len(sources) > 0 {
		some := fewSources(sources, o.keep)
		sources = sources[len(some):]
		w := sqlstore.Window{Tenant: tenant, First: some[0].Source, Last: some[len(some)-1].Source, Newest: newest}
		for more := true; more; more = o.more { // again where one source has more than can be kept
			o.reset()
			if err := s.collect(ctx, o, w); err != nil {
				return false, err
			}
			o.sort()
			for i := range o.kept {
				if !yield(o.position(tenant, i), nil) {
					return false, nil
				}
				if err := ctx.Err(); err != nil {
					return false, err
				}
			}
			if o.more {
				last := o.position(tenant, len(o.kept)-1)
				w.After = &last
			}
		}
	}
	return true, nil
}

// sources returns how many events each of the tenant's sources has, in order, and the number of the row that is the newest now.
func (s *Sink) sources(ctx context.Context, tenant string) (all []sqlstore.SourceCount, newest int64, err error) {
	var last *sqlstore.SourceCount
	for {
		page, err := sqlstore.ReadAll(ctx, s.readers, sqlstore.SelectSourcesAfter(tenant, last), sqlstore.ReadSourceCount)
		if err != nil {
			return nil, 0, err
		}
		if last == nil && len(page) > 0 {
			newest = page[0].Newest // what comes later than the first page does not count
		}
		all = append(all, page...)
		if len(page) < sqlstore.PageRows {
			return all, newest, nil
		}
		last = &page[len(page)-1]
	}
}

// fewSources returns the first of all, as many as have so many events together, but one at least.
func fewSources(all []sqlstore.SourceCount, events int) []sqlstore.SourceCount {
	sum := int64(0)
	for i := range all {
		if sum += all[i].Events; i > 0 && sum > int64(events) {
			return all[:i]
		}
	}
	return all
}

// collect walks through the tenant's events and has o keep the first of those in the window.
func (s *Sink) collect(ctx context.Context, o *ordering, w sqlstore.Window) error {
	for {
		page, err := sqlstore.ReadAll(ctx, s.readers, w.Select(),
			func(scan func(dest ...any) error) (sinkers.Position, error) { return sqlstore.Position(w.Tenant, scan) })
		if err != nil {
			return err
		}
		for i := range page {
			o.add(&page[i])
		}
		if len(page) < sqlstore.PageRows {
			return ctx.Err()
		}
		w.ID = page[len(page)-1].ID
	}
}

// ordering keeps the first of the positions of a tenant that are added, in the order of a scan.
type ordering struct {
	keep    int
	sources []string          // which are few
	numbers map[string]uint32 // of the sources
	kept    []position        // up to twice as many as are to be kept
	more    bool              // some are not kept
}

type position struct {
	source uint32
	closes bool
	seq    uint64
	id     firetrail.ID
	us     int64
}

func (o *ordering) reset() {
	*o = ordering{keep: o.keep, numbers: map[string]uint32{}, kept: o.kept[:0]}
}

func (o *ordering) add(p *sinkers.Position) {
	n, ok := o.numbers[p.Source]
	if !ok {
		n = uint32(len(o.sources))
		o.sources = append(o.sources, p.Source)
		o.numbers[p.Source] = n
	}
	o.kept = append(o.kept, position{source: n, closes: p.Closes, seq: p.Seq, id: p.ID, us: p.Time.UnixMicro()})
	if len(o.kept) == 2*o.keep {
		o.sort()
	}
}

// sort puts in order what is kept, and lets go of what is too much.
func (o *ordering) sort() {
	slices.SortFunc(o.kept, func(a, b position) int {
		if a.source != b.source {
			return strings.Compare(o.sources[a.source], o.sources[b.source])
		}
		return cmp.Or(cmp.Compare(a.seq, b.seq), bytes.Compare(a.id[:], b.id[:]))
	})
	if len(o.kept) > o.keep {
		o.kept, o.more = o.kept[:o.keep], true
	}
}

// position returns the ith of those that are kept.
func (o *ordering) position(tenant string, i int) sinkers.Position {
	p := &o.kept[i]
	return sinkers.Position{
		Tenant: tenant, Source: o.sources[p.source], Seq: p.seq, ID: p.id, Time: time.UnixMicro(p.us).UTC(), Closes: p.closes,
	}
}
