package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail"
)

// What is given as a value.
type (
	panicsAsText   struct{ X int }
	fails          struct{}
	liesAboutJSON  struct{}
	nilHasMethods  struct{ X int }
	cyclic         struct{ Next *cyclic }
	holdsInterface struct{ V fmt.Stringer }
)

func (panicsAsText) MarshalText() ([]byte, error)     { panic("no text") }
func (panicsAsText) String() string                   { panic("no string") }
func (fails) MarshalJSON() ([]byte, error)            { return nil, errors.New("no") }
func (liesAboutJSON) MarshalJSON() ([]byte, error)    { return []byte(`{"a":`), nil }
func (n *nilHasMethods) MarshalJSON() ([]byte, error) { return fmt.Append(nil, n.X), nil }
func (n *nilHasMethods) String() string               { return fmt.Sprint(n.X) }

func deep(n int) (v any) {
	for range n {
		v = []any{v}
	}
	return v
}

func huge(n int) map[string]int {
	m := make(map[string]int, n)
	for i := range n {
		m[fmt.Sprint(i)] = i
	}
	return m
}

// badValues are what no event can keep, or not whole.
func badValues() map[string]any {
	ring := &cyclic{}
	ring.Next = ring
	loop := map[string]any{}
	loop["loop"] = loop
	var none *nilHasMethods
	return map[string]any{
		"nil": nil, "ring": ring, "loop": loop, "channel": make(chan int), "function": func() {}, "NaN": math.NaN(),
		"infinity": math.Inf(-1), "complex": 1i, "not UTF-8": "\xff\x00\xc3", "10 MB": strings.Repeat("x", 10<<20),
		"deep": deep(1000), "huge": huge(50_000), "panics": panics{}, "panics as text": panicsAsText{},
		"panicking key": map[panicsAsText]int{{1}: 1}, "fails": fails{}, "lies": liesAboutJSON{}, "nil with methods": none,
		"nil in an interface": holdsInterface{none}, "nil map": map[string]int(nil), "bad number": json.Number("1e"),
		"bad raw": json.RawMessage("{"), "keys of any kind": map[any]any{1: 2}, "pointer to pointer": new(*int),
		"an error": errors.New("x"), "many": []any{panics{}, make(chan int), math.NaN()}, "fine": map[string]int{"a": 1},
	}
}

// odd is a context whose Value returns what nobody expects, or panics.
type odd struct {
	context.Context
	value any
}

func (o *odd) Value(any) any { return o.value } // panics on nil

func contexts() map[string]context.Context {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return map[string]context.Context{
		"none": nil, "background": context.Background(), "ended": ended, "panics": badContext{context.Background()},
		"typed nil": (*odd)(nil), "another's value": &odd{context.Background(), 7}, "no context in it": &odd{},
		"full of garbage": firetrail.WithContext(ended, firetrail.Context{
			Tenant: "\x00", Actor: firetrail.Actor{ID: strings.Repeat("é", 3000)}, Request: firetrail.Request{IP: "\xff"},
		}),
	}
}

// fireStates are the states of a producer into which anything is fired; none is the nil producer.
var fireStates = map[string]emitState{
	"none":               {},
	"healthy":            {},
	"broker away":        {config: brokersAway},
	"volatile":           {config: volatile},
	"full":               {config: all(brokersAway, oneEvent)},
	"volatile, full":     {config: all(brokersAway, volatile, oneEvent)},
	"a tenant's share":   {config: all(brokersAway, volatile, func(cfg *Config) { cfg.MaxTenantBytes = 1000 })},
	"one tenant at most": {config: func(cfg *Config) { cfg.MaxTenants = 1 }},
	"degraded":           {config: all(brokersAway, failingDisk)},
	"no log":             {config: noLog},
	"small records":      {config: func(cfg *Config) { cfg.WAL.MaxRecord = 1024 }},
	"closed": {reach: func(a *account, p *Producer) {
		a.late = true
		require.NoError(a.t, shut(p, 20*time.Second))
	}},
}

// drawn fails as the property that it is of.
type drawn struct {
	testing.TB
	r *rapid.T
}

func (d drawn) Errorf(format string, args ...any) { d.r.Errorf(format, args...) }
func (d drawn) FailNow()                          { d.r.FailNow() }

var texts = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", "b", "\xff", "\x00", strings.Repeat("é", 5000), " "}),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 200), func(b []byte) string { return string(b) }))

// pick draws one of some by its name.
func pick[V any](r *rapid.T, from map[string]V, label string) (name string, v V) {
	name = rapid.SampledFrom(slices.Sorted(maps.Keys(from))).Draw(r, label)
	return name, from[name]
}

func drawValue(r *rapid.T, bad map[string]any, label string) firetrail.Value {
	switch rapid.IntRange(0, 3).Draw(r, label+" is") {
	case 0:
		return firetrail.Value{}
	case 1:
		return firetrail.Raw(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, label))
	default:
		_, v := pick(r, bad, label)
		return firetrail.JSON(v)
	}
}

func drawEvent(r *rapid.T, bad map[string]any) firetrail.Event {
	names := []firetrail.Name{{}, created.Name(), firetrail.SourceClosed}
	e := firetrail.Event{
		Tenant: texts.Draw(r, "tenant"), Action: rapid.SampledFrom(names).Draw(r, "action"),
		Actor:  firetrail.Actor{Type: texts.Draw(r, "actor type"), ID: texts.Draw(r, "actor"), Name: texts.Draw(r, "actor name")},
		Entity: firetrail.Entity{Type: texts.Draw(r, "entity type")},
		Old:    drawValue(r, bad, "old"), New: drawValue(r, bad, "new"), Metadata: drawValue(r, bad, "metadata"), Extra: drawValue(r, bad, "extra"),
		Outcome: firetrail.Outcome(rapid.Byte().Draw(r, "outcome")),
		Request: firetrail.Request{IP: texts.Draw(r, "ip"), UserAgent: texts.Draw(r, "user agent"), ID: texts.Draw(r, "request"), Traceparent: texts.Draw(r, "traceparent")},
		Source:  texts.Draw(r, "source"), Seq: rapid.Uint64().Draw(r, "seq"), Truncated: firetrail.Truncated(rapid.Byte().Draw(r, "truncated")),
	}
	if rapid.Bool().Draw(r, "has a time") {
		e.Time = time.Unix(rapid.Int64().Draw(r, "time"), rapid.Int64().Draw(r, "ns"))
	}
	if rapid.Bool().Draw(r, "has an id") {
		copy(e.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "id"))
	}
	return e
}

// TestAnythingIntoFire: whatever Fire is given, in whatever state, it neither panics nor blocks, and the event is in
// exactly one place, or counted as dropped.
func TestAnythingIntoFire(t *testing.T) {
	bad, ctxs := badValues(), contexts()
	rapid.Check(t, func(r *rapid.T) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, DefaultTopic))
		require.NoError(r, err)
		defer c.Close()
		a := openAccount(drawn{t, r}, small(t, c))
		var p *Producer
		var forged []string
		if name, s := pick(r, fireStates, "state"); name != "none" {
			if s.config != nil {
				s.config(&a.cfg)
			}
			p = a.start()
			if s.reach != nil {
				s.reach(a, p)
			}
		}
		for range rapid.IntRange(1, 6).Draw(r, "events") {
			e := a.mark(drawEvent(r, bad), p != nil)
			if e.Action.Reserved() {
				forged = append(forged, e.Entity.ID)
			}
			_, ctx := pick(r, ctxs, "context")
			fired := make(chan any)
			go func() {
				defer func() { fired <- recover() }()
				p.Fire(ctx, e)
			}()
			select {
			case panicked := <-fired:
				require.Nil(r, panicked)
			case <-time.After(time.Minute):
				r.Fatal("Fire blocks")
			}
		}
		if p != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			_ = p.Close(ctx)
		}
		a.twice = true // Close may have given up on what was on its way
		found := a.check(c.ListenAddrs())
		for _, key := range forged {
			require.Zero(r, found.broker[key]+found.waiting[key], "nobody ends a source but its producer")
		}
	})
}

// endsTheGoroutine does what nobody can recover from.
type endsTheGoroutine struct{}

func (endsTheGoroutine) MarshalJSON() ([]byte, error) { runtime.Goexit(); return nil, nil }

func TestValueThatEndsTheGoroutine(t *testing.T) {
	a := openAccount(t, small(t, cluster(t)))
	p := a.start()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.fire(p, firetrail.Event{Action: created.Name(), New: firetrail.JSON(endsTheGoroutine{})})
	}()
	<-ended
	require.Equal(t, map[DropReason]uint64{DropPanic: 1}, p.Stats().Dropped)
	a.fire(p, event("a", 1))
	require.Len(t, a.check(a.cfg.Kafka.Brokers).broker, 1)
}
