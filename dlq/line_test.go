package dlq

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestLineRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := entry{Letter: anyLetter().Draw(t, "letter"), scans: rapid.IntRange(0, 100).Draw(t, "scans")}
		e.Copied = rapid.SampledFrom([]Copy{NoCopy, StubCopy, WholeCopy}).Draw(t, "copied")
		line := appendLetter([]byte("before"), &e)[len("before"):]
		require.True(t, bytes.HasSuffix(line, []byte("\n")))
		require.Equal(t, 1, bytes.Count(line, []byte("\n")))
		require.True(t, json.Valid(line))
		for _, c := range string(bytes.TrimSuffix(line, []byte("\n"))) {
			require.False(t, c < 0x20 || c >= 0x7f && c < 0xa0, "a control character reaches the terminal")
		}
		header, err := checkLine(line[:len(line)-1])
		require.NoError(t, err)
		require.False(t, header)
		got, err := parseLetter(line[:len(line)-1])
		require.NoError(t, err)
		require.Equal(t, e, got)
		require.GreaterOrEqual(t, len(line), e.size())
	})
}

// What a line looks like is documented and read by people and their jq.
func TestLineIsReadable(t *testing.T) {
	l := letter("acme", 7)
	l.Key = nil
	line := string(appendLetter(nil, &entry{Letter: l, scans: 2}))
	require.Equal(t, `{"crc":"`+line[8:16]+`","id":"acme-7","tenant":"acme","reason":"outage","error":"connection refused",`+
		`"stage":"write","attempts":3,"scans":2,"first_failed":"2026-03-01T12:00:00.123456789Z","topic":"audit.events",`+
		`"topic_id":"AQIDAAAAAAAAAAAAAAAAAA","partition":4,"offset":7,"time":"2026-03-01T11:59:00.005Z",`+
		`"headers":[{"key":"content-type","value":"application/cloudevents+json"}],"key":null,`+
		`"value":"{\"id\":\"7\",\"data\":\"x\"}"}`+"\n", line)
	h := string(appendHeader(nil, fileHeader{
		Version: 1, Kind: Dead, Tenant: "acme", Letters: 3,
		Reasons: map[string]int{"outage": 2, "invalid": 1}, Created: time.Unix(0, 0),
	}))
	require.Equal(t, `{"crc":"`+h[8:16]+`","firetrail":"letters","version":1,"kind":"dead","tenant":"acme","letters":3,`+
		`"reasons":[{"reason":"invalid","letters":1},{"reason":"outage","letters":2}],"created":"1970-01-01T00:00:00Z"}`+"\n", h)
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := fileHeader{
			Version: 1, Kind: rapid.SampledFrom([]Kind{Waiting, Dead}).Draw(t, "kind"),
			Tenant: anyString().Draw(t, "tenant"), Letters: rapid.IntRange(0, 1e9).Draw(t, "letters"),
			Reasons: rapid.MapOf(anyString(), rapid.IntRange(1, 9)).Draw(t, "reasons"), Created: anyTime().Draw(t, "created"),
			Copied: rapid.IntRange(0, 3).Draw(t, "copied"), Stubs: rapid.IntRange(0, 3).Draw(t, "stubs"),
		}
		line := appendHeader(nil, h)
		header, err := checkLine(line[:len(line)-1])
		require.NoError(t, err)
		require.True(t, header)
		got, err := parseHeader(line[:len(line)-1])
		require.NoError(t, err)
		require.Equal(t, h, got)
	})
}

// One bit anywhere in a line, and the line is no letter.
func TestEveryFlippedBitIsSeen(t *testing.T) {
	line := appendLetter(nil, &entry{Letter: letter("acme", 1)})
	line = line[:len(line)-1]
	for i := range len(line) * 8 {
		bad := bytes.Clone(line)
		bad[i/8] ^= 1 << (i % 8)
		_, err := checkLine(bad)
		require.Error(t, err, "bit %d", i)
	}
}

func TestTextSize(t *testing.T) {
	for name, b := range map[string][]byte{
		"quotes": bytes.Repeat([]byte(`"`), 9000), "zeros": make([]byte, 9000), "binary": bytes.Repeat([]byte{0xff}, 9000),
		"c1": bytes.Repeat([]byte("\u009b"), 4500), "newlines": bytes.Repeat([]byte("\n"), 9000),
	} {
		require.LessOrEqual(t, len(appendText(nil, b)), 2*len(b)+20, name)
	}
}

func TestBadText(t *testing.T) {
	for _, s := range []string{`5`, `{}`, `{"base64":null}`, `{"base64":"!"}`, `[1]`, `true`} {
		var v text
		require.Error(t, json.Unmarshal([]byte(s), &v), s)
	}
}

func TestTimes(t *testing.T) {
	for _, s := range []string{"@", "@1", "@1.x", "@1.1000000000", "@x.000000000", "yesterday"} {
		_, err := parseTime(s)
		require.Error(t, err, s)
	}
}

func TestOriginID(t *testing.T) {
	require.Equal(t, "dGhlLXRvcGljLWlkLTE2Yg:3:4711", OriginID([16]byte([]byte("the-topic-id-16b")), 3, 4711))
}

// Escapes that other writers of JSON use are read as the library reads them.
func TestForeignEscapes(t *testing.T) {
	for _, s := range []string{`""`, `"\u2028"`, `"\ud83d\ude00!"`, `"\ud83d"`, `"\u0041\u0042\u0043"`, `"\/\b\f"`, `"a\nb\"c\\\\"`, `"\ud83d\u0041"`} {
		var want string
		require.NoError(t, json.Unmarshal([]byte(s), &want))
		var got text
		require.NoError(t, json.Unmarshal([]byte(s), &got))
		require.Equal(t, want, string(got), s)
		require.NotNil(t, got)
	}
}
