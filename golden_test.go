package firetrail

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// golden compares got with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "go test -run %s -update writes it", t.Name())
	require.Equal(t, string(want), string(got))
}

// These hashes are in databases: they may never change for what is version 1.
func TestHashGolden(t *testing.T) {
	var b strings.Builder
	add := func(name string, e Event) { fmt.Fprintf(&b, "%x %s\n", e.ContentHash(), name) }
	e := sampleEvent()
	add("every field", e)
	e.Extra = Value{}
	add("without extra", e)
	e.New, e.Old, e.Metadata = Value{}, Value{}, Value{}
	add("without values", e)
	add("action only", Event{Action: Name{"a.b"}})
	add("not UTF-8", Event{Action: Name{"a.b"}, Actor: Actor{ID: "a\xff\xfeb"}})
	add("zero", Event{})
	golden(t, "hashes.txt", []byte(b.String()))
}

func TestCloudEventGolden(t *testing.T) {
	var b strings.Builder
	add := func(e Event) {
		out, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		b.Write(append(out, '\n'))
	}
	e := sampleEvent()
	add(e)
	e.Extra, e.Truncated, e.Metadata, e.Request, e.Actor = Value{}, truncatedAll, Value{}, Request{IP: "::1"}, Actor{ID: "<a>\x01\xff\u2028"}
	add(e)
	add(Event{ID: e.ID, Time: e.Time, Source: "s", Action: Name{"a.b.c"}})
	golden(t, "events.ndjson", []byte(b.String()))
}
