package sinkers

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
)

func TestCursorRoundTrip(t *testing.T) {
	for _, tenant := range []string{"", "acme", "zürich"} {
		for _, at := range []time.Time{time.UnixMicro(0), time.UnixMicro(1_700_000_000_123_456), time.Date(2199, 12, 31, 23, 59, 59, 999_999_000, time.UTC)} {
			e := firetrail.Event{Tenant: tenant, Time: at, ID: firetrail.IDFrom(at, "x")}
			c := NewCursor(&e)
			require.Regexp(t, `^[A-Za-z0-9_-]+$`, string(c), "safe in URLs")
			p, err := c.Position()
			require.NoError(t, err)
			require.Equal(t, CursorPosition{Time: at.UTC(), ID: e.ID, Tenant: tenant}, p)
		}
	}
	p, err := Cursor("").Position()
	require.NoError(t, err)
	require.Zero(t, p)
}

func FuzzCursor(f *testing.F) {
	at := time.UnixMicro(1_700_000_000_123_456)
	good := NewCursor(&firetrail.Event{Tenant: "acme", Time: at, ID: firetrail.IDFrom(at, "x")})
	f.Add("")
	f.Add(string(good))
	f.Add(string(good[:10]))
	f.Add(string(good) + "=")
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 25)))
	f.Add(base64.RawURLEncoding.EncodeToString(append([]byte{1}, make([]byte, 25)...)))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Cursor(s).Position()
		if err != nil {
			require.ErrorContains(t, err, "cursor:")
			require.Zero(t, p)
			return
		}
		if s == "" {
			return
		}
		// What is accepted is what NewCursor makes.
		e := firetrail.Event{Tenant: p.Tenant, Time: p.Time, ID: p.ID}
		again, err := NewCursor(&e).Position()
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}
