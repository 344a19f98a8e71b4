//go:build integration && unix

package chaos

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
)

// poisonHeader is on each record of the poisoner's, with its number: so it is known in the topic.
const poisonHeader = "chaos"

// poison is a record that no producer of ours made.
type poison struct {
	reason string // of the letter that it must become; "" for an event that must be stored
	id     firetrail.ID
	acked  bool
}

// poisoner writes to the topic what no producer would: one record in a thousand.
type poisoner struct {
	client *kgo.Client
	topic  string
	source string
	ids    *firetrail.IDGenerator
	seqs   map[string]uint64 // by tenant

	mu  sync.Mutex
	all []poison
}

func newPoisoner(t *testing.T, addrs []string, topic string) *poisoner {
	return &poisoner{
		client: testenv.Client(t, addrs), topic: topic, source: testenv.Unique(t), ids: firetrail.NewIDGenerator(),
		seqs: map[string]uint64{},
	}
}

// run writes so many records a second until ctx ends.
func (p *poisoner) run(ctx context.Context, rate float64) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := p.write(n); err != nil {
			return err
		}
	}
}

// write writes the n-th poison, and with a forged event the one it is forged from.
func (p *poisoner) write(n int) error {
	tenant := tenantNames()[n%(quiet+1)]
	e := p.event(tenant, n)
	switch n % 5 {
	case 0:
		p.send(dlq.ReasonUndecodable, tenant, e.ID, []byte("no event \x00\xff "+strconv.Itoa(n)))
		return nil
	case 1:
		e.Seq = 0 // nobody believes what it says of its place
		return p.sendEvent(dlq.ReasonTenantMismatch, "another", &e)
	case 2:
		e.Seq = p.seq(tenant)
		if err := p.sendEvent("", tenant, &e); err != nil {
			return err
		}
		e.Actor.ID, e.Seq = "mallory", p.seq(tenant)
		return p.sendEvent(dlq.ReasonConflict, tenant, &e)
	case 3:
		action, err := firetrail.ParseName(refusedAction)
		if err != nil {
			return err
		}
		e.Action, e.Seq = action, p.seq(tenant)
		return p.sendEvent(dlq.ReasonRefused, tenant, &e)
	default:
		e.Time = e.Time.Add(30 * 24 * time.Hour)
		e.ID = p.ids.Next(e.Time.UnixMicro())
		return p.sendEvent(dlq.ReasonInvalid, tenant, &e)
	}
}

func (p *poisoner) seq(tenant string) uint64 {
	p.seqs[tenant]++
	return p.seqs[tenant]
}

func (p *poisoner) event(tenant string, n int) firetrail.Event {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return firetrail.Event{
		ID: p.ids.Next(now.UnixMicro()), Tenant: tenant, Action: fired.Name(), Time: now, Recorded: now, Source: p.source,
		Actor: firetrail.Actor{Type: "user", ID: "poisoner"}, Entity: firetrail.Entity{Type: "poison", ID: fmt.Sprint(n)},
	}
}

func (p *poisoner) sendEvent(reason, key string, e *firetrail.Event) error {
	value, err := e.AppendCloudEvent(nil)
	if err != nil {
		return err
	}
	p.send(reason, key, e.ID, value)
	return nil
}

func (p *poisoner) send(reason, key string, id firetrail.ID, value []byte) {
	p.mu.Lock()
	n := len(p.all)
	p.all = append(p.all, poison{reason: reason, id: id})
	p.mu.Unlock()
	r := &kgo.Record{Topic: p.topic, Key: []byte(key), Value: value, Headers: []kgo.RecordHeader{{Key: poisonHeader, Value: []byte(strconv.Itoa(n))}}}
	for _, h := range firetrail.CloudEventHeaders() {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	p.client.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all[n].acked = err == nil
	})
}

// numberOf returns which of the poisoner's a record is.
func numberOf(r *kgo.Record) (n int, ok bool) {
	for _, h := range r.Headers {
		if h.Key == poisonHeader {
			n, err := strconv.Atoi(string(h.Value))
			return n, err == nil
		}
	}
	return 0, false
}

// end waits until all is written, and returns it.
func (p *poisoner) end(t *testing.T, ctx context.Context) []poison {
	require.NoError(t, p.client.Flush(ctx))
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range p.all {
		require.True(t, p.all[n].acked, "poison %d was not written", n)
	}
	return p.all
}
