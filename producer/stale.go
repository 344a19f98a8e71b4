package producer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

// ages knows, roughly, when the records of a log were recorded: of the first of each batch that was read.
type ages struct {
	mu      sync.Mutex
	samples []sample
}

type sample struct {
	seq uint64
	at  int64 // µs since 1970
}

// maxSamples bounds what ages remembers; beyond it every other sample goes.
const maxSamples = 1024

// note remembers a record. Those up to mark are done.
func (a *ages) note(r wal.Record, mark uint64) {
	head, err := firetrail.ReadBinaryHead(r.Payload)
	if err != nil || head.Recorded == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(mark)
	if n := len(a.samples); n > 0 && a.samples[n-1].seq >= r.Seq {
		return // it was read before
	}
	a.samples = append(a.thin(), sample{r.Seq, head.Recorded})
}

// thin returns the samples, with room for one more.
func (a *ages) thin() []sample {
	if len(a.samples) < maxSamples {
		return a.samples
	}
	for i := range maxSamples / 2 {
		a.samples[i] = a.samples[2*i]
	}
	return a.samples[:maxSamples/2]
}

// drop forgets samples of records that are done, but the last: it stands for those behind it.
func (a *ages) drop(mark uint64) {
	n := 0
	for n+1 < len(a.samples) && a.samples[n+1].seq <= mark+1 {
		n++
	}
	a.samples = slices.Delete(a.samples, 0, n)
}

// oldest returns when the first record behind mark was recorded, or one shortly before it; 0 where it wasn't read
// yet.
func (a *ages) oldest(mark uint64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(mark)
	if len(a.samples) == 0 || a.samples[0].seq > mark+1 {
		return 0
	}
	return a.samples[0].at
}

// oldestPending returns the age of the oldest record of the log that is not yet acknowledged; 0 where there is none.
func (s *shipper) oldestPending(now time.Time) time.Duration {
	if s.log.Drained() {
		return 0
	}
	at := s.ages.oldest(s.window.mark())
	if at == 0 {
		return 0
	}
	return max(0, now.Sub(time.UnixMicro(at)))
}

// oldestPending is that of all logs.
func (p *Producer) oldestPending() (age time.Duration) {
	now := p.cfg.Clock()
	for _, o := range p.logs.all() {
		age = max(age, o.shipper.oldestPending(now))
	}
	return age
}

// staleEvery is how often a log line says that events are stale.
const staleEvery = time.Minute

// watch logs when the oldest event that is not acknowledged is too old, and when that is over.
func (p *Producer) watch() {
	t := time.NewTicker(max(min(p.cfg.StaleAfter/4, time.Second), time.Millisecond))
	defer t.Stop()
	var since, logged time.Time
	for {
		select {
		case <-t.C:
		case <-p.ctx.Done():
			return
		}
		age := p.oldestPending()
		switch now := time.Now(); {
		case age >= p.cfg.StaleAfter:
			if since.IsZero() {
				since = now
			}
			if now.Sub(logged) >= staleEvery {
				logged = now
				p.cfg.Logger.Warn("producer: events have waited for long; they are safe in the log", "topic", p.routes.String(),
					"oldest", age.Round(time.Millisecond), "error", p.trouble())
			}
		case !since.IsZero():
			p.cfg.Logger.Warn("producer: events are shipped in time again", "topic", p.routes.String(), "after", now.Sub(since).Round(time.Millisecond))
			since, logged = time.Time{}, time.Time{}
		}
	}
}

// trouble returns the likely reason why nothing is acknowledged.
func (p *Producer) trouble() error {
	if err := p.routes.why(); err != nil {
		return err
	}
	for _, o := range p.logs.all() {
		if err := o.shipper.window.trouble(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, probeEvery)
	defer cancel()
	return kafkaclient.Check(ctx, p.single.client)
}
