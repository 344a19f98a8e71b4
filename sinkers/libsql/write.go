package libsql

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Write implements sinkers.Sinker: one statement in one round trip, or a transaction of several where the rows are more
// than one takes. Rows are grouped by tenant, which is kinder to the database's indexes; those with the same tenant
// and id keep their order, so that the first of them is the one that stays.
func (s *Sink) Write(ctx context.Context, b sinkers.Batch) (sinkers.Result, error) {
	ctx, end, err := s.beginStore(ctx)
	if err != nil {
		return sinkers.Result{}, err
	}
	defer end()
	if len(b.Rows) == 0 {
		return sinkers.Result{}, nil
	}
	w := &write{
		s: s, rows: b.Rows,
		now: s.cfg.Retention.Clock(), cutoff: sqlstore.Cutoff(s.cfg.Retention.Cutoff()),
	}
	if err := w.encode(); err != nil {
		return sinkers.Result{}, s.fail(ctx, "write", err)
	}
	if err := ctx.Err(); err != nil {
		return sinkers.Result{}, s.fail(ctx, "write", err)
	}
	patient, cancel := withGrace(ctx)
	defer cancel()
	if err := w.run(patient); err != nil {
		return sinkers.Result{}, s.fail(ctx, "write", err)
	}
	return w.result(), nil
}

// withGrace returns a context that ends [Grace] after ctx does.
func withGrace(ctx context.Context) (context.Context, func()) {
	patient, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var timer *time.Timer
	started := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		timer = time.AfterFunc(Grace, func() { cancel(context.Cause(ctx)) })
		close(started)
	})
	return patient, func() {
		if !stop() {
			<-started
			timer.Stop()
		}
		cancel(nil)
	}
}

// write is one Write under way.
type write struct {
	s    *Sink
	rows []sinkers.Row

	now    time.Time
	cutoff int64 // the retention's, µs
	parts  []part

	res    sinkers.Result
	ledger []sinkers.LedgerEntry // of what was refused
}

// part is what one statement stores.
type part struct {
	json    []byte
	indexes []int // of its rows
	stored  int
}

func (w *write) run(ctx context.Context) error {
	var err error
	switch len(w.parts) {
	case 0:
	case 1:
		w.parts[0].stored, err = w.insert(ctx, w.s.writer, &w.parts[0])
	default:
		err = w.transaction(ctx)
	}
	if err != nil {
		return err
	}
	for i := range w.parts {
		p := &w.parts[i]
		w.res.Stored += p.stored
		if p.stored < len(p.indexes) {
			if err := w.compare(ctx, p); err != nil {
				return err
			}
		}
	}
	if len(w.ledger) == 0 {
		return nil
	}
	// Not one transaction with the insert: until this has succeeded the batch has not, and is written again.
	return w.s.appendLedger(ctx, w.ledger)
}

// transaction stores all parts or none.
func (w *write) transaction(ctx context.Context) error {
	return sqlstore.InTransaction(ctx, w.s.writer, func(tx *sql.Tx) (err error) {
		for i := range w.parts {
			if w.parts[i].stored, err = w.insert(ctx, tx, &w.parts[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *write) insert(ctx context.Context, db execer, p *part) (int, error) {
	args := []any{string(p.json), w.cutoff}
	if w.s.lease != nil {
		args = append(args, w.s.lease.owner)
	}
	res, err := db.ExecContext(ctx, w.s.insert, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// compare finds out what became of the rows of a part that were not stored: what is there under a row's id is
// either that row's content or another's, and if there is nothing the row is expired or erased, now or since it
// was stored a moment ago.
func (w *write) compare(ctx context.Context, p *part) error {
	if err := w.s.checkLease(ctx); err != nil {
		return err
	}
	before := len(w.res.Conflicts)
	absent, err := w.different(ctx, p)
	if err != nil {
		return err
	}
	if len(absent) == 0 {
		return nil
	}
	pruned := int64(math.MinInt64)
	if err := w.s.writer.QueryRowContext(ctx, sqlstore.SelectPruned).Scan(&pruned); err != nil {
		return err
	}
	refused := len(p.indexes) - p.stored - (len(w.res.Conflicts) - before)
	for _, i := range absent {
		expired := w.rows[i].Time.UnixMicro() < pruned
		if expired {
			w.note(i, sinkers.LedgerExpired)
		} else {
			w.note(i, sinkers.LedgerErased)
		}
		switch {
		case refused <= 0: // it was stored, and is gone already
			continue
		case expired:
			w.res.Expired++
		default:
			w.res.Erased++
		}
		refused--
	}
	return nil
}

// different counts the rows of a part that are there with other content, and returns the indexes of those that aren't
// there.
func (w *write) different(ctx context.Context, p *part) (absent []int, err error) {
	rows, err := w.s.writer.QueryContext(ctx, sqlstore.SelectDifferent, string(w.hashes(p)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var position int
		var hash []byte
		if err := rows.Scan(&position, &hash); err != nil {
			return nil, err
		}
		i := p.indexes[position]
		switch len(hash) {
		case 0:
			absent = append(absent, i)
		case len(w.rows[i].Hash):
			w.res.Conflict(i, [16]byte(hash))
		default:
			return nil, fmt.Errorf("stored event %s: hash has %d bytes instead of %d", w.rows[i].ID, len(hash), len(w.rows[i].Hash))
		}
	}
	return absent, rows.Err()
}

// note takes down for the ledger why row i isn't there.
func (w *write) note(i int, reason sinkers.LedgerReason) {
	p := sinkers.Position{Tenant: w.rows[i].Tenant, Source: w.rows[i].Source, Seq: w.rows[i].Seq}
	if e, ok := sinkers.LedgerOf(p, reason, w.now); ok {
		w.ledger = append(w.ledger, e)
	}
}

func (w *write) result() sinkers.Result {
	slices.Sort(w.res.Conflicts)
	w.res.Duplicates = len(w.rows) - w.res.Stored - w.res.Expired - w.res.Erased - len(w.res.Conflicts)
	return w.res
}
