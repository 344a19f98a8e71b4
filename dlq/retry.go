package dlq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"
)

// RetryResult is what one scan did.
type RetryResult struct {
	Files     int // files worked on
	Delivered int // letters delivered and removed
	Refused   int // letters refused that stay for another scan
	Buried    int // letters that were refused for the last time and are .dead now
	Away      int // letters that were tried and could not be
	Busy      int // tenants left out because another process is at work on them
	Recovered int // files of processes that ended, back in the queue
	Damaged   int // files found damaged
}

// Run is the retry engine: it scans when it starts and then every ScanInterval, until ctx ends or the Dir
// is closed, and returns nil. What goes wrong in a scan is logged, counted, and tried again in the next.
func (d *Dir) Run(ctx context.Context, deliver Deliver) error {
	ctx, end, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	for {
		switch res, err := d.retry(ctx, deliver); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			d.stats.scanErrors.Add(1)
			d.log.Error("scan of the dead letters", "dir", d.cfg.Path, "error", err)
		case res.Delivered+res.Buried+res.Recovered > 0:
			d.log.Info("scan of the dead letters", "dir", d.cfg.Path, "delivered", res.Delivered,
				"refused", res.Refused, "buried", res.Buried, "away", res.Away, "recovered_files", res.Recovered)
		}
		if d.cfg.ScanInterval < 0 {
			<-ctx.Done()
			return nil
		}
		timer := time.NewTimer(d.cfg.ScanInterval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// Retry does one scan now: every waiting file, a tenant's oldest first, the tenants taking turns. A tenant
// whose destination is away is left for the next scan. The result counts what was done even when there is
// an error, which joins what went wrong with single files.
func (d *Dir) Retry(ctx context.Context, deliver Deliver) (RetryResult, error) {
	ctx, end, err := d.begin(ctx)
	if err != nil {
		return RetryResult{}, err
	}
	defer end()
	res, err := d.retry(ctx, deliver)
	if err != nil {
		return res, fmt.Errorf("dlq: retrying: %w", err)
	}
	return res, nil
}

// maxScanErrors is how many errors of one scan are told one by one.
const maxScanErrors = 10

// scanState is one scan under way.
type scanState struct {
	d       *Dir
	deliver Deliver
	res     RetryResult
	errs    []error
	changed bool // names have changed that are not synced yet
}

func (d *Dir) retry(ctx context.Context, deliver Deliver) (RetryResult, error) {
	select {
	case d.scan <- struct{}{}:
		defer func() { <-d.scan }()
	case <-ctx.Done():
		return RetryResult{}, context.Cause(ctx)
	}
	if err := d.refresh(); err != nil {
		return RetryResult{}, err
	}
	s := &scanState{d: d, deliver: deliver}
	busy, err := d.recoverInto(&s.res)
	if err != nil {
		s.failed(err)
	}
	s.turns(ctx, d.queues(busy))
	if s.changed {
		if err := d.fs.SyncDir(d.cfg.Path); err != nil {
			s.failed(err)
		}
	}
	d.trim(ctx)
	if ctx.Err() != nil {
		s.errs = append(s.errs, context.Cause(ctx))
	}
	return s.res, errors.Join(s.errs...)
}

func (s *scanState) failed(err error) {
	if len(s.errs) < maxScanErrors {
		s.errs = append(s.errs, err)
	}
}

// queues returns each tenant's waiting files, oldest first, the tenant with the oldest file first.
func (d *Dir) queues(busy map[string]bool) [][]fileMeta {
	files := d.index.in(stateWaiting)
	sortByAge(files)
	var queues [][]fileMeta
	at := map[string]int{}
	for _, m := range files {
		t := m.name.tenant
		if busy[t] {
			continue
		}
		if _, ok := at[t]; !ok {
			at[t] = len(queues)
			queues = append(queues, nil)
		}
		queues[at[t]] = append(queues[at[t]], m)
	}
	return queues
}

// turns works through the queues, a file of each at a time, so that a tenant with many doesn't hold up
// the others.
func (s *scanState) turns(ctx context.Context, queues [][]fileMeta) {
	for len(queues) > 0 {
		queues = slices.DeleteFunc(queues, func(q []fileMeta) bool { return len(q) == 0 })
		for i, q := range queues {
			if ctx.Err() != nil {
				return
			}
			if s.file(ctx, q[0].name) {
				queues[i] = q[1:]
			} else {
				queues[i] = nil
			}
		}
	}
}

// file retries one file, and reports whether to go on with its tenant's next.
func (s *scanState) file(ctx context.Context, n fileName) bool {
	d := s.d
	lock, err := d.fs.Lock(d.path(n))
	switch {
	case errors.Is(err, fs.ErrNotExist): // another process has dealt with it; its order is in good hands
		return true
	case errors.Is(err, errLocked):
		s.res.Busy++
		return false
	case err != nil:
		s.failed(fmt.Errorf("locking %s: %w", n, err))
		return false
	}
	defer lock.Close()
	work := n.in(stateProcessing)
	if err := d.rename(n, work); err != nil {
		s.failed(fmt.Errorf("claiming %s: %w", n, err))
		return false
	}
	s.changed = true
	s.res.Files++
	p := pass{d: d, name: work, deliver: s.deliver}
	goOn := false
	if err = p.run(ctx); err == nil {
		err = p.settle(ctx)
	} else {
		goOn = true // one file that can't be read must not hold up its tenant for ever
	}
	s.count(&p, err)
	if err != nil {
		s.failed(err)
		if err := d.rename(work, n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.failed(fmt.Errorf("giving back %s: %w", n, err)) // the next scan's recovery does it
		}
		return goOn && !p.away
	}
	return !p.away
}

func (s *scanState) count(p *pass, err error) {
	s.d.stats.retried.Add(int64(p.tried))
	s.d.stats.refused.Add(int64(p.refused))
	s.res.Away += p.awayLetters
	if err != nil {
		return // what was delivered is still there, and will be delivered again
	}
	s.res.Delivered += p.delivered
	s.res.Refused += p.refused - p.buried
	s.res.Buried += p.buried
	s.d.stats.delivered.Add(int64(p.delivered))
	s.d.stats.buried.Add(int64(p.buried))
	if p.damage == nil {
		return
	}
	s.res.Damaged++
	s.d.stats.damagedFiles.Add(1)
	s.d.stats.lost.Add(int64(p.lost))
	s.d.damages.Do(func() {
		s.d.log.Error("a file of letters is damaged; what is whole in it is used, and the file set aside",
			"file", p.name.in(stateDamaged).String(), "lost", p.lost, "error", p.damage)
	})
}

// recover gives files that nobody works on back to the queue. busy are the tenants somebody does work on.
func (d *Dir) recover() (busy map[string]bool, err error) {
	return d.recoverInto(&RetryResult{})
}

func (d *Dir) recoverInto(res *RetryResult) (busy map[string]bool, err error) {
	busy = map[string]bool{}
	var errs []error
	for _, m := range d.index.in(stateProcessing) {
		switch err := d.recoverFile(m.name); {
		case err == nil:
			res.Recovered++
			d.stats.recovered.Add(1)
		case errors.Is(err, errLocked):
			busy[m.name.tenant] = true
			res.Busy++
		case !errors.Is(err, fs.ErrNotExist):
			busy[m.name.tenant] = true
			errs = append(errs, fmt.Errorf("giving back %s: %w", m.name, err))
		}
	}
	return busy, errors.Join(errs...)
}

func (d *Dir) recoverFile(n fileName) error {
	lock, err := d.fs.Lock(d.path(n))
	if err != nil {
		return err
	}
	defer lock.Close()
	to := n.in(stateWaiting)
	d.index.mu.Lock()
	_, taken := d.index.files[to.String()]
	d.index.mu.Unlock()
	if taken { // somebody copied files about; renaming would put one in place of the other
		to = n.again(stateWaiting)
	}
	return d.rename(n, to)
}

// trim discards dead letters where the directory is over its budgets without anything being put, as after
// the budgets were lowered.
func (d *Dir) trim(ctx context.Context) {
	d.room.Lock()
	defer d.room.Unlock()
	if d.fits(Total{}, false) != nil {
		_ = d.discard(ctx, Total{}, false) // what is left over is told by the next Put
	}
}

var _ io.Closer = (*Dir)(nil)
