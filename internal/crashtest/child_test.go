//go:build unix

package crashtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/wal"
)

// childSetting is the variable that makes this test binary a child.
const childSetting = "FIRETRAIL_CRASH_CHILD"

// life is one child's: a process that fires until it is killed.
type life struct {
	Number  int
	Witness string // its file
	Dir     string
	Brokers []string
	Topic   string
	Rate    int // events a second, of each goroutine; 0 is flat out
	Most    int // events; then it waits for its end
	Ring    int
}

// What a child's goroutines fire for: event i is tenant i%tenants's, and a tenant is one goroutine's, so that
// numbers and sequences agree.
const (
	goroutines = 2
	tenants    = 6
	maxEvents  = 1 << 18 // that a child fires at the most
)

var tick = firetrail.NewAction[struct{}]("clock.ticked")

func tenantOf(i int) string { return fmt.Sprint("tenant-", i%tenants) }

// config is the same for whoever opens the directory.
func (l *life) config() producer.Config {
	return producer.Config{
		Kafka: kafkaclient.Config{Brokers: l.Brokers}, Topic: l.Topic, WeakTopic: true,
		Dir: l.Dir, Namespace: "crash", Linger: time.Millisecond, LetterInterval: 50 * time.Millisecond,
		WAL: wal.Config{
			RingSize: l.Ring, SegmentSize: 1 << 20, MaxRecord: 16 << 10, MinFree: -1,
			SyncEvery: 20 * time.Millisecond, RetryMax: 200 * time.Millisecond,
		},
	}
}

// runChild lives until it is killed, or its parent is.
func runChild(setting string) {
	var l life
	err := json.Unmarshal([]byte(setting), &l)
	if err == nil {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
		err = l.live()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func (l *life) live() error {
	w, err := testenv.OpenWitness(l.Witness, maxEvents)
	if err != nil {
		return err
	}
	p, err := producer.New(l.config())
	if err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Println("up")
	go func() {
		<-term
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Millisecond)
		defer cancel()
		_ = p.Close(ctx) // what is left, another ships; and it is fired at meanwhile
		os.Exit(0)
	}()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() { l.fire(p, w, g) })
	}
	wg.Wait()
	select {}
}

// fire fires the events of one goroutine, and notes the fate of each once its Fire has returned. What is counted
// meanwhile may be another goroutine's: then it is noted of both.
func (l *life) fire(p *producer.Producer, w testenv.Witness, g int) {
	begun, n := time.Now(), 0
	s := p.Stats()
	unsafe, gone := s.Unprotected, s.DroppedEvents()
	for i := 0; i < l.Most; i++ {
		if i%tenants%goroutines != g {
			continue
		}
		for n++; l.Rate > 0 && time.Since(begun) < time.Duration(n)*time.Second/time.Duration(l.Rate); {
			<-time.After(50 * time.Microsecond)
		}
		p.Fire(context.Background(), firetrail.Event{
			Tenant: tenantOf(i), Action: tick.Name(), New: firetrail.Raw(testenv.Payload(l.Number, i)),
		})
		s, f := p.Stats(), testenv.Protected
		switch {
		case s.DroppedEvents() != gone:
			f = testenv.Dropped
		case s.Unprotected != unsafe:
			f = testenv.Unprotected
		}
		unsafe, gone = s.Unprotected, s.DroppedEvents()
		w.Set(i, f)
	}
}
