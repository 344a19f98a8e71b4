package producer

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// TestManyFaultsAtOnce fires and emits from several goroutines, of more tenants than there is room for, while the
// log's disk fails and hangs, the log opens late, the broker refuses to take anything for a while, the log is full
// now and then, others ask for Stats and flush, and Close comes in the middle of it.
func TestManyFaultsAtOnce(t *testing.T) {
	c := cluster(t)
	d := newDisk(working)
	cfg := small(t, c)
	cfg.WAL.FS, cfg.WAL.RetryMin, cfg.WAL.RetryMax = d, time.Millisecond, 20*time.Millisecond
	cfg.MaxTenants, cfg.MaxEvents, cfg.MaxTenantBytes = 5, 1000, 100_000
	blocked := filepath.Join(cfg.Dir, cfg.Namespace, "0") // where the log should be
	require.NoError(t, os.MkdirAll(filepath.Dir(blocked), 0o700))
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	a := openAccount(t, cfg)
	a.twice, a.late = true, true
	p := a.start()
	var firing, beside sync.WaitGroup
	over := make(chan struct{})
	for g := range 3 {
		firing.Go(func() {
			for i := range 1000 {
				a.fire(p, event(fmt.Sprint("t", (i*i+g)%11), i))
				if i%50 == 0 {
					runtime.Gosched()
				}
			}
		})
		firing.Go(func() {
			for i := range 60 {
				_ = a.emit(within(t, time.Duration(i%5)*time.Millisecond), p, event("e", i), Ack(i%2))
			}
		})
	}
	again := func(do func(i int)) {
		beside.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
					do(i)
				}
			}
		})
	}
	again(func(i int) {
		d.set(mood(i % 3))
		_ = p.Flush(within(t, 2*time.Millisecond))
	})
	again(func(int) {
		fault := noProduce(c, kerr.NotEnoughReplicas)
		_ = p.Flush(within(t, 5*time.Millisecond))
		fault.Remove()
		_ = p.Flush(within(t, 5*time.Millisecond))
	})
	again(func(int) {
		s := p.Stats()
		require.LessOrEqual(t, s.Tenants, 5)
		_ = p.Ready(within(t, time.Millisecond))
	})
	require.NoError(t, os.Remove(blocked))
	firing.Wait()
	for i := range 1000 {
		a.fire(p, event("late", i))
		if i == 500 {
			firing.Go(func() { _ = shut(p, 5*time.Second) })
		}
	}
	firing.Wait()
	close(over)
	beside.Wait()
	d.set(working)
	found := a.check(c.ListenAddrs())
	t.Logf("broker %d, log %d, waiting %d, dead %d, %+v", len(found.broker), len(found.log), len(found.waiting), len(found.dead), p.Stats())
}
