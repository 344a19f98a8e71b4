package firetrail

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/race"
)

func stampOf(e *Event) Stamp {
	return Stamp{ID: e.ID, Time: e.Time.UnixMicro(), Recorded: e.Recorded.UnixMicro(), Seq: e.Seq, Source: e.Source}
}

func encodeBinary(t *testing.T, e *Event) []byte {
	b, _, err := e.AppendBinary(nil)
	require.NoError(t, err)
	return b
}

// An event is the same after a turn through the log, and the encoding does not depend on where it is put.
func TestBinary(t *testing.T) {
	e := sampleEvent()
	want := encodeBinary(t, &e)
	for capacity := range len(want) + 16 {
		got, cut, err := e.AppendBinary(append(make([]byte, 0, capacity), "before"...)[:min(capacity, 6)])
		require.NoError(t, err)
		require.Equal(t, TruncatedText, cut, "what was cut before is still said")
		require.Equal(t, want, got[min(capacity, 6):])
	}
	got, err := DecodeBinary(StampBinary(want, stampOf(&e)))
	require.NoError(t, err)
	require.Equal(t, e, got)
	require.LessOrEqual(t, len(want), MaxBinary)
}

func TestBinaryBeforeTheStamp(t *testing.T) {
	e := sampleEvent()
	got, err := DecodeBinary(encodeBinary(t, &e))
	require.NoError(t, err)
	require.True(t, got.ID.IsZero() && got.Time.IsZero() && got.Recorded.IsZero() && got.Seq == 0 && got.Source == "")

	b := StampBinary(encodeBinary(t, &e), Stamp{ID: newID(0, 1), Time: 0, Source: strings.Repeat("s", math.MaxUint16+9)})
	got, err = DecodeBinary(b)
	require.NoError(t, err)
	require.Equal(t, time.UnixMicro(0).UTC(), got.Time, "1970 is a time, not none")
	require.Len(t, got.Source, math.MaxUint16)
	require.Equal(t, []byte("short"), StampBinary([]byte("short"), Stamp{}))
}

// What is not valid comes through, so that it can become a dead letter.
func TestBinaryOfInvalidEvents(t *testing.T) {
	for name, e := range map[string]Event{
		"zero": {}, "no action": {Tenant: "t"}, "bad action": {Action: Name{"no such name"}},
		"bad tenant": {Action: Name{"a.b"}, Tenant: "\x00\xff"}, "long tenant": {Action: Name{"a.b"}, Tenant: strings.Repeat("é", MaxTenant)},
		"outcome": {Action: Name{"a.b"}, Outcome: 77}, "raw": {Action: Name{"a.b"}, New: Raw([]byte("{no json"))},
	} {
		b := StampBinary(encodeBinary(t, &e), Stamp{ID: newID(1, 1), Time: 1, Source: "s"})
		got, err := DecodeBinary(b)
		require.NoError(t, err, name)
		require.Equal(t, e.Tenant, got.Tenant, name)
		require.Equal(t, e.Action, got.Action, name)
		require.Equal(t, e.Outcome, got.Outcome, name)
		require.Equal(t, e.New.Bytes(), got.New.Bytes(), name)
		require.True(t, name == "raw" || got.Validate() != nil, name)
		_, err = got.AppendCloudEvent(nil)
		require.Error(t, err, name)
	}
	e := Event{Action: Name{"a.b"}, Tenant: strings.Repeat("x", 5*MaxText)}
	got, err := DecodeBinary(encodeBinary(t, &e))
	require.NoError(t, err)
	require.Error(t, got.Validate(), "a tenant that was cut is still too long")
}

func TestBinaryCutsTexts(t *testing.T) {
	for _, s := range []string{
		strings.Repeat("a", MaxText+1), strings.Repeat("é", MaxText), "a" + strings.Repeat("é", MaxText),
		strings.Repeat("😀", MaxText), "abc" + strings.Repeat("😀", MaxText), strings.Repeat("\x80", 2*MaxText),
	} {
		e := Event{Action: Name{"a.b"}, Request: Request{UserAgent: s}, Actor: Actor{ID: "kept"}}
		b, cut, err := e.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, TruncatedText, cut)
		got, err := DecodeBinary(b)
		require.NoError(t, err)
		require.Equal(t, TruncatedText, got.Truncated)
		require.Equal(t, "kept", got.Actor.ID)
		agent := got.Request.UserAgent
		require.True(t, strings.HasPrefix(s, agent))
		require.GreaterOrEqual(t, len(agent), MaxText-utf8.UTFMax)
		require.LessOrEqual(t, len(agent), MaxText)
		require.Equal(t, utf8.ValidString(s), utf8.ValidString(agent), "no rune is split")
	}
	e := Event{Action: Name{"a.b"}, Request: Request{UserAgent: strings.Repeat("a", MaxText)}}
	_, cut, _ := e.AppendBinary(nil)
	require.Zero(t, cut)
}

// Over MaxPayload metadata goes first, then old; a value too large by itself goes before them all.
func TestBinaryPayload(t *testing.T) {
	raw := func(n int) Value { return Raw(bytes.Repeat([]byte{'1'}, n)) }
	text := func(n int) Value { return JSON(strings.Repeat("x", n-2)) }
	const all, half = MaxPayload, MaxPayload / 2
	for name, c := range map[string]struct {
		old, new, metadata, extra Value
		cut                       Truncated
	}{
		"nothing":              {},
		"fits":                 {old: raw(half), new: raw(half)},
		"fits with Go":         {old: text(half), new: raw(half)},
		"one over":             {old: raw(half), new: raw(half), metadata: raw(1), cut: TruncatedMetadata},
		"one over, Go":         {old: text(half), new: text(half), metadata: JSON(1), cut: TruncatedMetadata},
		"old too":              {old: raw(half + 1), new: text(half), metadata: raw(1), cut: TruncatedMetadata | TruncatedOld},
		"without metadata":     {old: raw(half + 1), new: raw(half), cut: TruncatedOld},
		"new fills it":         {old: raw(1), new: raw(all), metadata: raw(1), cut: TruncatedMetadata | TruncatedOld},
		"new alone too large":  {old: raw(half), new: raw(all + 1), metadata: raw(half), cut: TruncatedNew},
		"Go alone too large":   {old: raw(1), new: text(9 * all), metadata: raw(1), cut: TruncatedNew},
		"old alone too large":  {old: raw(all + 1), new: raw(all), cut: TruncatedOld},
		"all too large":        {old: raw(all + 1), new: raw(all + 1), metadata: text(all + 1), cut: TruncatedOld | TruncatedNew | TruncatedMetadata},
		"extra has its own":    {new: raw(all), extra: raw(all)},
		"extra too large":      {new: raw(1), extra: raw(all + 1), cut: TruncatedExtra},
		"unencodable":          {old: JSON(math.NaN()), new: raw(3), metadata: JSON(panicky{}), cut: TruncatedOld | TruncatedMetadata},
		"unencodable and over": {old: raw(half + 1), new: JSON(failing{}), metadata: raw(half), cut: TruncatedNew | TruncatedMetadata},
	} {
		e := Event{Action: Name{"a.b"}, Old: c.old, New: c.new, Metadata: c.metadata, Extra: c.extra}
		b, cut, err := e.AppendBinary([]byte("before"))
		require.Equal(t, c.cut, cut, name)
		require.Equal(t, c.cut != 0, err != nil, name)
		require.LessOrEqual(t, len(b), MaxBinary+6)
		got, err := DecodeBinary(b[6:])
		require.NoError(t, err, name)
		require.Equal(t, c.cut, got.Truncated, name)
		for i, v := range []struct{ in, out Value }{{c.old, got.Old}, {c.new, got.New}, {c.metadata, got.Metadata}, {c.extra, got.Extra}} {
			bit := []Truncated{TruncatedOld, TruncatedNew, TruncatedMetadata, TruncatedExtra}[i]
			if c.cut&bit != 0 {
				require.True(t, v.out.IsZero(), name)
				continue
			}
			want, err := v.in.AppendJSON(nil)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, v.out.Bytes()), "%s %d", name, i)
		}
	}
}

func TestBinaryErrorsNameTheValue(t *testing.T) {
	e := Event{Action: Name{"a.b"}, Old: JSON(math.NaN()), New: JSON(failing{}), Metadata: Raw(make([]byte, MaxPayload+1))}
	_, _, err := e.AppendBinary(nil)
	for _, s := range []string{"old: ", "new: ", "metadata: 65537 bytes"} {
		require.ErrorContains(t, err, s)
	}
}

// A copy is what the log holds, so that the caller may change the bytes after Fire.
func TestBinaryCopies(t *testing.T) {
	raw := []byte(`{"a":1}`)
	e := Event{Action: Name{"a.b"}, New: Raw(raw)}
	b := encodeBinary(t, &e)
	raw[2] = 'X'
	got, err := DecodeBinary(b)
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(got.New.Bytes()))
}

func TestDecodeBinaryRefuses(t *testing.T) {
	e := sampleEvent()
	good := StampBinary(encodeBinary(t, &e), stampOf(&e))
	for n := range good {
		_, err := DecodeBinary(good[:n])
		require.Error(t, err, "%d of %d bytes", n, len(good))
	}
	_, err := DecodeBinary(append(bytes.Clone(good), 0))
	require.ErrorContains(t, err, "add up to")
	for at, b := range map[int]byte{0: 2, offSourceLen: 9, offTextLens: 0xff, offTextLens + 21: 0x80, offValueLens + 3: 0xff, offValueLens + 15: 0x7f} {
		bad := bytes.Clone(good)
		bad[at] = b
		_, err := DecodeBinary(bad)
		require.Error(t, err, "byte %d", at)
	}
}

// The layout is a file format: what is on a disk must be readable by the next version.
func TestBinaryGolden(t *testing.T) {
	e := sampleEvent()
	b := StampBinary(encodeBinary(t, &e), stampOf(&e))
	golden(t, "event.binary.hex", []byte(hex.Dump(b)))
}

func TestAppendBinaryAllocatesNothing(t *testing.T) {
	raw := []byte(`{"title":"x"}`)
	course := &struct{ Title string }{"x"}
	buf := make([]byte, 0, 4096)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		e := Event{Tenant: "acme", Action: Name{"a.b"}, Entity: Entity{ID: "c-1"}, Old: Raw(raw), New: Raw(raw)}
		buf, _, _ = e.AppendBinary(buf[:0])
		buf = StampBinary(buf, Stamp{Time: 1, Seq: 2, Source: "s"})
	}), "the event must not escape")
	if race.Enabled {
		return // sync.Pool drops at random under the race detector
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		e := Event{Action: Name{"a.b"}, New: JSON(course)}
		buf, _, _ = e.AppendBinary(buf[:0])
	}), "nor for Go values")
}
