package firetrail

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseName(t *testing.T) {
	for s, want := range map[string]string{
		"course.created": "", "a.b": "", "iam.CreateUser": "", "a-b_c.d.e9": "", "9.9": "", strings.Repeat("a", MaxName-2) + ".b": "",
		"": "empty", "course": "no verb", ".a": "byte 0", "a.": "byte 1", "a..b": "byte 2", "a b.c": "byte 1", "ä.b": "byte 0", "a.-b": "byte 2",
		"a._b": "byte 2", "a.b\n": "byte 3", "a.b\x00": "byte 3", strings.Repeat("a", MaxName-1) + ".b": "129 bytes",
	} {
		n, err := ParseName(s)
		if want == "" {
			require.NoError(t, err, s)
			require.Equal(t, s, n.String())
			continue
		}
		require.ErrorContains(t, err, "action: ", s)
		require.ErrorContains(t, err, want, s)
		require.True(t, n.IsZero())
	}
}

func TestNoun(t *testing.T) {
	for s, want := range map[string]string{"course.created": "course", "a.b.c": "a.b"} {
		n, err := ParseName(s)
		require.NoError(t, err)
		require.Equal(t, want, n.Noun())
	}
	require.Empty(t, Name{}.Noun())
}

func TestNewActionPanics(t *testing.T) {
	require.PanicsWithValue(t, `firetrail.NewAction: action: "course" has no verb; want noun.verb, such as "course.created"`,
		func() { NewAction[int]("course") })
}

func TestActionEvent(t *testing.T) {
	changed := NewAction[int]("a.changed")
	old, at := 1, time.Unix(5, 0)
	in := Input[int]{
		ID: newID(5e6, 1), Tenant: "t", Actor: Actor{ID: "u"}, Entity: Entity{ID: "e"}, Old: &old, Metadata: JSON(2), Outcome: Denied,
		Request: Request{IP: "::1"}, Time: at,
	}
	e := changed.Event(in)
	require.Equal(t, Event{
		ID: in.ID, Tenant: "t", Action: changed.Name(), Actor: in.Actor, Entity: in.Entity, Old: JSON(&old), Metadata: JSON(2),
		Outcome: Denied, Request: in.Request, Time: at,
	}, e)
	require.True(t, e.New.IsZero(), "a nil pointer is none, not null")
	require.NoError(t, e.Validate())
}

func TestValidate(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 123_456_000, time.UTC)
	id := newID(at.UnixMicro(), 1)
	v4 := id
	v4[6] = v4[6]&0xf | 0x40
	variant := id
	variant[8] = 0xff
	ok := Event{Action: Name{"a.b"}}
	for name, c := range map[string]struct {
		change func(e *Event)
		want   []string
	}{
		"least":        {func(e *Event) {}, nil},
		"whole":        {func(e *Event) { *e = sampleEvent() }, nil},
		"id only":      {func(e *Event) { e.ID = id }, nil},
		"time only":    {func(e *Event) { e.Time = at }, nil},
		"same ms":      {func(e *Event) { e.ID, e.Time = id, at.Truncate(time.Millisecond) }, nil},
		"next ms":      {func(e *Event) { e.ID, e.Time = id, at.Truncate(time.Millisecond).Add(time.Millisecond) }, []string{"id: "}},
		"ms before":    {func(e *Event) { e.ID, e.Time = id, at.Truncate(time.Millisecond).Add(-1) }, []string{"id: "}},
		"v4":           {func(e *Event) { e.ID = v4 }, []string{"id: ", "not a UUIDv7; make it with IDFrom"}},
		"variant":      {func(e *Event) { e.ID = variant }, []string{"id: "}},
		"far id":       {func(e *Event) { e.ID = newID(maxTime.UnixMicro(), 1) }, []string{"id: its time: "}},
		"tenant bytes": {func(e *Event) { e.Tenant = "\xff" }, []string{"tenant: ", "UTF-8"}},
		"tenant NEL":   {func(e *Event) { e.Tenant = "a\u0085" }, []string{"tenant: ", "control"}},
		"tenant DEL":   {func(e *Event) { e.Tenant = "a\x7f" }, []string{"tenant: ", "control"}},
		"tenant NUL":   {func(e *Event) { e.Tenant = "\x00" }, []string{"tenant: ", "control"}},
		"tenant long":  {func(e *Event) { e.Tenant = strings.Repeat("é", 65) }, []string{"tenant: 130 bytes"}},
		"tenant fits":  {func(e *Event) { e.Tenant = strings.Repeat("é", 64) }, nil},
		"1969":         {func(e *Event) { e.Time = time.Unix(-1, 0) }, []string{"time: 1969"}},
		"2200":         {func(e *Event) { e.Time = maxTime }, []string{"time: 2200"}},
		"all": {
			func(e *Event) { *e = Event{Tenant: "\n", Outcome: 3, Time: time.Unix(-1, 0), ID: ID{1}} },
			[]string{"action: missing", "tenant: ", "outcome: 3", "time: ", "id: "},
		},
	} {
		e := ok
		c.change(&e)
		err := e.Validate()
		if c.want == nil {
			require.NoError(t, err, name)
		}
		for _, s := range c.want {
			require.ErrorContains(t, err, s, name)
		}
	}
	require.NoError(t, ValidateTenant("acme ✓"))
	require.ErrorContains(t, ValidateTenant("a\n"), `tenant: "a\n" has a control character`)
	usual := Event{Tenant: "acme", Action: Name{"a.b"}, Time: at, ID: id}
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = usual.Validate() }))
}

func TestOutcome(t *testing.T) {
	for _, o := range []Outcome{Success, Failure, Denied} {
		got, err := ParseOutcome(o.String())
		require.NoError(t, err)
		require.Equal(t, o, got)
	}
	got, err := ParseOutcome("")
	require.NoError(t, err)
	require.Equal(t, Success, got)
	_, err = ParseOutcome("Success")
	require.ErrorContains(t, err, "outcome: ")
	require.Equal(t, "Outcome(7)", Outcome(7).String())
}

func TestContext(t *testing.T) {
	c := Context{Tenant: "t", Actor: Actor{"user", "u", "U"}, Request: Request{"ip", "ua", "id", "tp"}}
	ctx := WithContext(context.Background(), c)
	got, ok := FromContext(ctx)
	require.True(t, ok)
	require.Equal(t, c, got)
	got.Tenant = "changed"
	again, _ := FromContext(ctx)
	require.Equal(t, "t", again.Tenant)
	_, ok = FromContext(context.Background())
	require.False(t, ok)
	_, ok = FromContext(nil) //nolint:staticcheck // Fire takes whatever it is given
	require.False(t, ok)

	e := Event{Action: Name{"course.created"}}
	inPlace := e
	inPlace.FillFrom(ctx)
	require.Equal(t, e.WithContext(&c), inPlace)
	full := e.WithContext(&c)
	require.Equal(t, Event{Action: e.Action, Tenant: "t", Actor: c.Actor, Request: c.Request, Entity: Entity{Type: "course"}}, full)
	require.Equal(t, Event{Action: Name{"course.created"}}, e, "the event itself is not changed")
	require.Equal(t, "course", e.WithContext(nil).Entity.Type)

	e = Event{Action: e.Action, Tenant: "mine", Actor: Actor{ID: "me"}, Request: Request{IP: "my ip"}, Entity: Entity{Type: "x"}}
	require.Equal(t, Event{
		Action: e.Action, Tenant: "mine", Actor: Actor{ID: "me"}, Entity: Entity{Type: "x"},
		Request: Request{IP: "my ip", UserAgent: "ua", ID: "id", Traceparent: "tp"},
	}, e.WithContext(&c), "explicit fields win; the actor is taken whole or not at all")
}

func TestReservedNames(t *testing.T) {
	require.Equal(t, "firetrail.closed", SourceClosed.String())
	for name, reserved := range map[string]bool{
		"firetrail.closed": true, "firetrail.a.b": true, "firetrail.x": true,
		"firetrails.closed": false, "Firetrail.closed": false, "a.firetrail.x": false, "fire.trail": false,
	} {
		n, err := ParseName(name)
		require.NoError(t, err, "reserved names can be read")
		require.Equal(t, reserved, n.Reserved(), name)
		require.Equal(t, reserved, n.CheckReserved() != nil, name)
		if reserved {
			require.Panics(t, func() { NewAction[int](name) })
		} else {
			require.Equal(t, name, NewAction[int](name).Name().String())
		}
	}
	require.False(t, Name{}.Reserved())
}

func TestStamper(t *testing.T) {
	var s Stamper
	now := time.UnixMicro(1_700_000_000_000_000)
	first := s.Stamp(&Event{}, now.UnixMicro())
	require.Equal(t, now.UnixMicro(), first.Time)
	require.Equal(t, now.UnixMicro(), first.Recorded)
	require.Equal(t, now.UTC(), first.ID.Time())
	second := s.Stamp(&Event{}, now.Add(-time.Hour).UnixMicro())
	require.Equal(t, first.Time+1, second.Time, "a clock that jumped back")
	require.Positive(t, second.ID.Compare(first.ID))
	own := time.UnixMicro(1_600_000_000_123_456)
	require.Equal(t, own.UnixMicro(), s.Stamp(&Event{Time: own}, now.UnixMicro()).Time)
	id := IDFrom(own, "x")
	got := s.Stamp(&Event{ID: id}, now.UnixMicro())
	require.Equal(t, Stamp{ID: id, Time: own.UnixMicro(), Recorded: now.UnixMicro()}, got)
	require.Equal(t, first.Time+2, s.Stamp(&Event{}, now.UnixMicro()).Time, "times that came with events move nothing")
}
