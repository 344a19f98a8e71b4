package firetrail

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bothWays reads b by its layout and by its grammar, and holds the first to the second.
func bothWays(t *testing.T, b []byte) (own bool) {
	t.Helper()
	var want, got Event
	named := decoder{scanner: scanner{b: b}, all: string(b), e: new(Event)}
	_ = named.attributes()
	m := Message{Value: b, Key: []byte(named.attrs[attrTenant])} // so that it isn't the key that keeps readOwn from it
	slow := decoder{scanner: scanner{b: b}, e: &want}
	err := slow.structured("")
	if err == nil {
		err = slow.finish(&m)
	}
	if !readOwn(&m, &got) {
		require.Zero(t, got)
		return false
	}
	require.NoError(t, err, "%s", b)
	require.Equal(t, want, got, "%s", b)
	m.Key = append(m.Key, 'x')
	require.False(t, readOwn(&m, &got), "the key is another tenant's")
	return true
}

func TestOwnLayoutIsReadAsByItsGrammar(t *testing.T) {
	full := sampleEvent()
	full.Extra = Value{}
	full.Truncated = 0
	full.Metadata = Raw([]byte(`{"a":[1,{"b":"\"\u00e9"}]}`))
	whole, err := full.AppendCloudEvent(nil)
	require.NoError(t, err)
	require.True(t, bothWays(t, whole), "%s", whole)

	t.Run("whatever is left out", func(t *testing.T) {
		for bits := range 1 << 12 {
			e := full
			for i, clearIt := range []func(){
				func() { e.Tenant = "" }, func() { e.Seq = 0 }, func() { e.Entity.ID = "" },
				func() { e.Request.Traceparent = "" }, func() { e.Actor.Type = "" }, func() { e.Actor.ID = "" },
				func() { e.Actor.Name = "" }, func() { e.Old = Value{} }, func() { e.New = Value{} },
				func() { e.Metadata = Value{} }, func() { e.Request.IP = "" }, func() { e.Request.ID, e.Request.UserAgent = "", "" },
			} {
				if bits&(1<<i) != 0 {
					clearIt()
				}
			}
			b, err := e.AppendCloudEvent(nil)
			require.NoError(t, err)
			require.True(t, bothWays(t, b), "%s", b)
		}
	})
	t.Run("each byte in turn is another, missing, or twice there", func(t *testing.T) {
		for i := range whole {
			for _, c := range []byte(" \"\\{}[],:x0\x80\xff") {
				b := append([]byte(nil), whole...)
				b[i] = c
				bothWays(t, b)
			}
			bothWays(t, append(append([]byte(nil), whole[:i]...), whole[i+1:]...))
			bothWays(t, append(append([]byte(nil), whole[:i+1]...), whole[i:]...))
			bothWays(t, whole[:i])
		}
	})
	t.Run("what has no field, or another order, is not its layout", func(t *testing.T) {
		for _, change := range [][2]string{
			{`"data":{`, `"x":1,"data":{`},
			{`"actor":{`, `"actor":{"role":"x",`},
			{`"outcome"`, `"z":1,"outcome"`},
			{`"specversion":"1.0",`, ``},
			{`{"specversion"`, ` {"specversion"`},
			{`,"data"`, `, "data"`},
			{`}}`, `},"truncated":["old"]}`},
			{`"actor":{`, `"actor":{},"was":{`},
			{`,"id":"` + full.Entity.ID + `"`, ``}, // the subject says it
			{`"subject":"course/` + full.Entity.ID, `"subject":"course/`},
		} {
			b := strings.Replace(string(whole), change[0], change[1], 1)
			require.NotEqual(t, string(whole), b, change[0])
			require.False(t, bothWays(t, []byte(b)), b)
		}
		noEntity := strings.NewReplacer(`"entity":{"type":"course","id":"`+full.Entity.ID+`"},`, ``, `"subject":"course/`+full.Entity.ID, `"subject":"course/`)
		require.False(t, bothWays(t, []byte(noEntity.Replace(string(whole)))), "a subject that ends with the slash is the entity's id")
	})
}

func FuzzOwnLayout(f *testing.F) {
	e := sampleEvent()
	b, err := e.AppendCloudEvent(nil)
	require.NoError(f, err)
	f.Add(b)
	e.Extra, e.Truncated = Value{}, 0
	b, err = e.AppendCloudEvent(nil)
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"specversion":"1.0","id":"","source":"","type":"","time":"","datacontenttype":"application/json","data":{"actor":{"id":""},"outcome":"denied","old":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) { bothWays(t, b) })
}

// A Decoder gives what DecodeCloudEvent and ContentHash do, whatever it read before, and leaves nothing of an event in the
// next one.
func TestDecoderIsUsedAgain(t *testing.T) {
	full := sampleEvent()
	foreign := Message{Key: []byte("k"), Time: time.UnixMilli(1_772_355_600_000), Value: []byte(
		`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"actor":{"role":"x"},"old": [1, "\ud800"]}}`)}
	messages := []Message{foreign, {Value: []byte("no event")}}
	for _, change := range []func(e *Event){
		func(*Event) {}, func(e *Event) { e.Extra, e.Truncated = Value{}, 0 },
		func(e *Event) { *e = Event{ID: e.ID, Action: e.Action, Time: e.Time, Source: "s"} },
		func(e *Event) { e.Extra, e.Actor.Name, e.Metadata = Value{}, "a \"b\" é", Raw([]byte(`"é"`)) },
		func(e *Event) { e.New = Raw([]byte(`"` + strings.Repeat("x", keptHashed) + `"`)) },
	} {
		e := full
		change(&e)
		b, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		messages = append(messages, Message{Key: []byte(e.Tenant), Value: b, Headers: CloudEventHeaders()})
	}
	var d Decoder
	var e Event
	for range 2 {
		for _, m := range messages {
			want, wantErr := DecodeCloudEvent(m)
			hash, err := d.Decode(&m, &e)
			require.Equal(t, wantErr, err)
			require.Equal(t, want, e)
			if err == nil {
				require.Equal(t, want.ContentHash(), hash)
			} else {
				require.Zero(t, hash)
			}
			require.LessOrEqual(t, cap(d.hashed), keptHashed)
		}
	}
}

// The time in our own form is read as time.Parse reads it, and what that refuses is refused.
func TestOwnTimeIsReadAsTimeParseDoes(t *testing.T) {
	check := func(s string) {
		want, err := time.Parse(time.RFC3339Nano, s)
		got, ok := parseOwnTime(s)
		require.Equal(t, err == nil, ok, s)
		if ok {
			require.Equal(t, want, got, s)
		}
	}
	for _, date := range []string{"0000-02-29", "1900-02-29", "1969-12-31", "1970-01-01", "2000-02-29", "2199-12-31", "2024-02-30"} {
		check(date + "T23:59:59.999999Z")
	}
	const form = "2024-03-10T07:08:09.010203Z"
	for i := range form {
		for c := range 128 {
			s := []byte(form)
			s[i] = byte(c)
			if form[i] == '.' && c == ',' { // which time.Parse takes, and RFC 3339 doesn't have
				continue
			}
			check(string(s))
		}
	}
	for month := range 14 {
		for day := range 33 {
			for _, year := range []int{1999, 2000, 2001, 2100, 2400} {
				check(fmt.Sprintf("%04d-%02d-%02dT00:00:00.000000Z", year, month, day))
			}
		}
	}
}

// A sequence is read as strconv reads it, and what that refuses is refused.
func TestSequenceIsReadAsStrconvDoes(t *testing.T) {
	for _, s := range []string{
		"", "0", "7", "00000000000000000042", "00000000000000000000", "9999999999999999999", "18446744073709551615",
		"18446744073709551616", "18446744073709551620", "99999999999999999999", "000000000000000000042", "-1", "+1", "1_0", "0x1",
		"0000000000000000004:", "0000000000000000004/", "1.0", " 1", "1 ", "١",
	} {
		want, wantErr := strconv.ParseUint(s, 10, 64)
		got, err := parseSequence(s)
		require.Equal(t, wantErr, err, s)
		if err == nil {
			require.Equal(t, want, got, s)
		}
	}
}

func TestSpecialMaskFindsTheLowest(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			for _, fill := range []byte{' ', '!', '#', 'x', 0x7f, 0x80, 0xa2, 0xdc, 0xff} {
				b := bytes.Repeat([]byte{fill}, 8)
				b[at] = byte(c)
				if at < 7 {
					b[7] = '"' // behind it, which must not matter
				}
				want := slices.IndexFunc(b, func(c byte) bool { return c == '"' || c == '\\' || c < 0x20 })
				if want < 0 {
					want = 8
				}
				require.Equal(t, want, bits.TrailingZeros64(specialMask(binary.LittleEndian.Uint64(b)))>>3, "%q", b)
			}
		}
	}
}
