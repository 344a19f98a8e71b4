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

// Scan implements sinkers.Scanner. The server walks through a tenant's events once, in pages along their key, and
// once more for every half a million of them: it can't send an ordered answer of any length, and to order it anew for
// each page would take the square of the time. They are put in order here. What is stored meanwhile is left out.
func (s *Sink) Scan(ctx context.Context, scan sinkers.Scan) iter.Seq2[sinkers.Position, error] {
	return backend.Stream(ctx, s.begin, s.fail, "scan", func(ctx context.Context, yield func(sinkers.Position, error) bool) error {
		if !scan.AllTenants {
			_, err := s.scanTenant(ctx, scan.Tenant, yield)
			return err
		}
		var failed error
		err := s.eachTenant(ctx, func(t string) bool {
			var more bool
			more, failed = s.scanTenant(ctx, t, yield)
			return more && failed == nil
		})
		return cmp.Or(failed, err)
	})
}

// scanTenant returns whether the caller wants more.
func (s *Sink) scanTenant(ctx context.Context, tenant string, yield func(sinkers.Position, error) bool) (bool, error) {
	newest, err := sqlstore.ReadAll(ctx, s.readers, sqlstore.Statement{SQL: sqlstore.SelectNewest}, sqlstore.Number)
	if err != nil {
		return false, err
	}
	o := &ordering{keep: s.scanKeeps, numbers: map[string]uint32{}}
	for after := (*sinkers.Position)(nil); ; {
		if err := s.collect(ctx, o, tenant, newest[0], after); err != nil {
			return false, err
		}
		o.sort()
		for i := range o.kept {
			p := o.position(tenant, i)
			if !yield(p, nil) {
				return false, nil
			}
			if after = &p; i%sqlstore.PageRows == 0 {
				if err := ctx.Err(); err != nil {
					return false, err
				}
			}
		}
		if !o.more {
			return true, nil
		}
		o.kept, o.more = o.kept[:0], false
	}
}

// collect walks through the tenant's events, but for those stored after the newest, and has o keep the first of those behind after,
// which is nil for all.
func (s *Sink) collect(ctx context.Context, o *ordering, tenant string, newest int64, after *sinkers.Position) error {
	var last *firetrail.ID
	for {
		page, err := sqlstore.ReadAll(ctx, s.readers, sqlstore.SelectPositionsAfter(tenant, last, newest, after),
			func(scan func(dest ...any) error) (sinkers.Position, error) { return sqlstore.Position(tenant, scan) })
		if err != nil {
			return err
		}
		for i := range page {
			o.add(&page[i])
		}
		if len(page) < sqlstore.PageRows {
			return nil
		}
		last = &page[len(page)-1].ID
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
