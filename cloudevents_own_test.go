package firetrail

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bothWays reads b by its layout and by its grammar, and holds the first to the second.
func bothWays(t *testing.T, b []byte) (own bool) {
	t.Helper()
	fast := decoder{scanner: scanner{b: b}, all: string(b)}
	if !fast.own() {
		return false
	}
	slow := decoder{scanner: scanner{b: b}, all: string(b)}
	require.NoError(t, slow.attributes(), "%s", b)
	require.NoError(t, slow.end(), "%s", b)
	require.Equal(t, slow, fast, "%s", b)
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
			for _, c := range []byte(` "\{}[],:x0`) {
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
		} {
			b := strings.Replace(string(whole), change[0], change[1], 1)
			require.NotEqual(t, string(whole), b, change[0])
			require.False(t, bothWays(t, []byte(b)), b)
		}
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
