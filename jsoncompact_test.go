package firetrail

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// scannedCompact is isCompact by the scanner, apart from the depth.
func scannedCompact(b []byte) (compact, deep bool) {
	s := scanner{b: b}
	lo, hi, spaced, err := s.skip()
	depth, most := 0, 0
	for i, inText := 0, false; i < len(b); i++ {
		switch c := b[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case !inText && (c == '{' || c == '['):
			depth++
			most = max(most, depth)
		case !inText && (c == '}' || c == ']'):
			depth--
		}
	}
	return err == nil && s.end() == nil && !spaced && lo == 0 && hi == len(b), most > 64
}

func checkCompact(t *testing.T, b []byte) {
	want, deep := scannedCompact(b)
	if got := isCompact(b); got != want && !deep || got && !want {
		t.Fatalf("%q: %v, and the scanner says %v", b, got, want)
	}
}

func TestIsCompact(t *testing.T) {
	seeds := []string{
		``, ` `, `1`, `-`, `-0`, `01`, `1.`, `1.5e-7`, `1e`, `10`, `true`, `tru`, `null`, `nullx`, `"a"`, `"a`, `"\u00e9\n"`, `"\x"`,
		`{}`, `[]`, `{]`, `[}`, `[1,2]`, `[1,]`, `[,1]`, `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":{"b":[{},[],{"c":"d"}]}}`,
		`[[1],{"a":[]}]`, `1 `, ` 1`, `[1, 2]`, `{"a" :1}`, `{"a": 1}`, `[]]`, `{}{}`, `"a""b"`, `[1 2]`, "\"\x01\"", `{"a":1,"b":[true,false,null,"x",-1.5]}`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65),
		strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64), strings.Repeat("[", 300),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range seeds {
		checkCompact(t, []byte(s))
		for range 3000 {
			b := []byte(s)
			for range 1 + r.IntN(3) {
				const bytes = `{}[]",:\ u0129.-+eEtrufalsn `
				if i := r.IntN(len(b) + 1); i < len(b) && r.IntN(2) == 0 {
					b[i] = bytes[r.IntN(len(bytes))]
				} else {
					b = append(b[:i:i], append([]byte{bytes[r.IntN(len(bytes))]}, b[i:]...)...)
				}
			}
			checkCompact(t, b)
		}
	}
	require.True(t, isCompact([]byte(seeds[len(seeds)-4])), "64 levels are few enough")
}

// What is no UTF-8 is found wherever in a string it stands.
func TestIsCompactIsUTF8(t *testing.T) {
	for before := range 20 {
		for _, end := range []string{"", "x", `\n`, strings.Repeat("y", 20)} {
			text := strings.Repeat("x", before)
			require.True(t, isCompact([]byte(`{"`+text+`é":"`+text+`é`+end+`"}`)))
			require.False(t, isCompact([]byte(`{"a":"`+text+"\xe9"+end+`"}`)))
			require.False(t, isCompact([]byte(`{"`+text+"\xe9"+end+`":1}`)))
			require.False(t, isCompact([]byte(`"\n`+text+"\xe9"+end+`"`)))
		}
	}
}

func FuzzIsCompact(f *testing.F) {
	f.Add([]byte(`{"a":[1,-2.5e3,"b\n",{}],"c":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !utf8.Valid(b) {
			return
		}
		checkCompact(t, b)
		if isCompact(b) && !json.Valid(b) {
			t.Fatalf("%q is no JSON", b)
		}
	})
}

func TestAppendTimeAsTheLibrary(t *testing.T) {
	check := func(at time.Time) {
		require.Equal(t, at.UTC().Format("2006-01-02T15:04:05.000000Z"), string(appendTime(nil, at)))
	}
	for year := range 10_000 {
		for _, md := range [][2]int{{1, 1}, {2, 28}, {2, 29}, {3, 1}, {12, 31}} {
			at := time.Date(year, time.Month(md[0]), md[1], 23, 59, 59, 999_999_999, time.UTC)
			if at.Year() < 10_000 {
				check(at)
			}
		}
	}
	check(time.Date(2026, 3, 1, 0, 30, 0, 0, time.FixedZone("", 3600)))
}
