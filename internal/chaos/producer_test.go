//go:build integration && unix

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
)

// childSetting is the variable that makes this test binary a producer.
const childSetting = "FIRETRAIL_CHAOS_CHILD"

func TestMain(m *testing.M) {
	if s := os.Getenv(childSetting); s != "" {
		if err := runProducer(s); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// Of each round of events, ten tenants have one, and the flood a hundred.
const (
	quiet = 10
	round = quiet + 100
	flood = "flood"
)

// tenantOf and seqOf say whose event i of a life is, and which of theirs it is.
func tenantOf(i int) string {
	if i%round < quiet {
		return fmt.Sprint("tenant-", i%round)
	}
	return flood
}

func seqOf(i int) uint64 {
	if i%round < quiet {
		return uint64(i/round) + 1
	}
	return uint64(i/round*(round-quiet)+i%round-quiet) + 1
}

// firers is how many goroutines fire: one of them the flood.
const firers = 2

func firerOf(i int) int {
	if i%round < quiet {
		return 0
	}
	return 1
}

func tenantNames() []string {
	names := []string{flood}
	for i := range quiet {
		names = append(names, tenantOf(i))
	}
	return names
}

var fired = firetrail.NewAction[struct{}]("chaos.fired")

// life is one producer's: a process that fires until its end.
type life struct {
	Number  int
	Witness string // its file
	Dir     string
	Brokers []string
	Topic   string
	Rate    int // events a second
	Most    int // events; then it waits for its end
}

// config is the same for whoever opens the directory.
func (l *life) config(log *slog.Logger) producer.Config {
	return producer.Config{
		Kafka: kafkaclient.Config{Brokers: l.Brokers}, Topic: l.Topic, Dir: l.Dir, Namespace: "chaos",
		LetterInterval: time.Second, ParkAfter: 5 * time.Second, Logger: log,
	}
}

// event is the event i of a life, before it is stamped.
func event(life, i int) firetrail.Event {
	return firetrail.Event{
		Tenant: tenantOf(i), Action: fired.Name(), Actor: firetrail.Actor{Type: "user", ID: fmt.Sprint("u-", i%97)},
		Entity: firetrail.Entity{Type: "clock", ID: fmt.Sprint(life, "/", i)}, New: firetrail.Raw(testenv.Payload(life, i)),
	}
}

// runProducer fires until SIGTERM comes, and then closes in a moment: what is left, another ships.
func runProducer(setting string) error {
	ctx, end := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer end()
	var l life
	if err := json.Unmarshal([]byte(setting), &l); err != nil {
		return err
	}
	w, err := testenv.OpenWitness(l.Witness, l.Most)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("life", l.Number)
	p, err := producer.New(l.config(log))
	if err != nil {
		return err
	}
	log.Info("fires")
	var wg sync.WaitGroup
	for g := range firers {
		wg.Go(func() { l.fire(ctx, p, w, g) })
	}
	wg.Wait()
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	log.Info("closed", "err", p.Close(closing))
	return nil
}

// fire fires the events of one goroutine, and notes the fate of each once its Fire has returned. What is counted
// meanwhile may be another goroutine's: then it is noted of both.
func (l *life) fire(ctx context.Context, p *producer.Producer, w testenv.Witness, g int) {
	begun, s := time.Now(), p.Stats()
	unsafe, gone := s.Unprotected, s.DroppedEvents()
	for i := 0; i < l.Most; i++ {
		if firerOf(i) != g {
			continue
		}
		due := begun.Add(time.Duration(i) * time.Second / time.Duration(l.Rate))
		for now := time.Now(); now.Before(due); now = time.Now() {
			select {
			case <-time.After(due.Sub(now)):
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		p.Fire(context.Background(), event(l.Number, i))
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
