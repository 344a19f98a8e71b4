package dlq

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openDir(t *testing.T, cfg DirConfig) *Dir {
	t.Helper()
	if cfg.Path == "" {
		cfg.Path = filepath.Join(t.TempDir(), "dlq")
	}
	d, err := OpenDir(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// letter makes one of a tenant, with something in every field.
func letter(tenant string, n int) Letter {
	return Letter{
		ID: fmt.Sprintf("%s-%d", tenant, n), Tenant: tenant, Reason: ReasonOutage, Error: "connection refused",
		Stage: "write", Attempts: 3, FirstFailed: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC),
		Topic: "audit.events", TopicID: [16]byte{1, 2, 3}, Partition: 4, Offset: int64(n),
		Time: time.Date(2026, 3, 1, 11, 59, 0, 5e6, time.UTC), Key: []byte(tenant),
		Value:   []byte(fmt.Sprintf(`{"id":"%d","data":"x"}`, n)),
		Headers: []Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}},
	}
}

func letters(tenant string, from, to int) []Letter {
	var ls []Letter
	for i := from; i < to; i++ {
		ls = append(ls, letter(tenant, i))
	}
	return ls
}

func ids(ls []Letter) []string {
	out := []string{}
	for _, l := range ls {
		out = append(out, l.ID)
	}
	return out
}

// stored is what the directory holds of a kind, tenant by tenant in the order of its files.
func stored(t *testing.T, d *Dir, k Kind) []Letter {
	t.Helper()
	var out []Letter
	for f, err := range d.Files(t.Context()) {
		require.NoError(t, err)
		if f.Kind != k {
			continue
		}
		for l, err := range d.ReadFile(t.Context(), f.Path) {
			require.NoError(t, err)
			out = append(out, l)
		}
	}
	return out
}

// names lists the directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// destination is a Deliver that remembers, and does to each letter what its answers say.
type destination struct {
	mu     sync.Mutex
	got    []Letter
	answer func(Letter) Outcome // nil: delivered
}

func (x *destination) deliver(_ context.Context, ls []Letter) []Outcome {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]Outcome, len(ls))
	for i, l := range ls {
		out[i] = Delivered
		if x.answer != nil {
			out[i] = x.answer(l)
		}
		if out[i] == Delivered {
			x.got = append(x.got, l)
		}
	}
	return out
}

func (x *destination) ids() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return ids(x.got)
}

func always(o Outcome) func(Letter) Outcome { return func(Letter) Outcome { return o } }

// anyBytes draws bytes of every awkward sort, nil and empty among them.
func anyBytes() *rapid.Generator[[]byte] {
	return rapid.OneOf(
		rapid.Just([]byte(nil)),
		rapid.Just([]byte{}),
		rapid.SliceOfN(rapid.Byte(), 0, 64),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
		rapid.SampledFrom([][]byte{
			[]byte(`{"a":"b\\c"}`), []byte("\x00\x1b[31m"), []byte("\u0085\u009b\u2028\ufffd"),
			[]byte("line\nline\r\n\t"),
			{0xff, 0xfe},
			bytes.Repeat([]byte{0}, 40), []byte("\xc2"), []byte("null"),
		}),
	)
}

func anyString() *rapid.Generator[string] {
	return rapid.Map(anyBytes(), func(b []byte) string { return string(b) })
}

// anyTime draws times from all that Kafka's timestamps reach, zero among them.
func anyTime() *rapid.Generator[time.Time] {
	return rapid.OneOf(
		rapid.Just(time.Time{}),
		rapid.Map(rapid.Int64(), func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }),
		rapid.Map(rapid.Int64Range(0, 4e18), func(ns int64) time.Time { return time.Unix(0, ns).UTC() }),
	)
}

func anyLetter() *rapid.Generator[Letter] {
	return rapid.Custom(func(t *rapid.T) Letter {
		l := Letter{
			ID: anyString().Draw(t, "id"), Tenant: anyString().Draw(t, "tenant"), Reason: anyString().Draw(t, "reason"),
			Error: anyString().Draw(t, "error"), Stage: anyString().Draw(t, "stage"), Attempts: rapid.Int().Draw(t, "attempts"),
			FirstFailed: anyTime().Draw(t, "failed"), Topic: anyString().Draw(t, "topic"),
			Partition: rapid.Int32().Draw(t, "partition"), Offset: rapid.Int64().Draw(t, "offset"),
			Time: anyTime().Draw(t, "time"), Key: anyBytes().Draw(t, "key"), Value: anyBytes().Draw(t, "value"),
		}
		copy(l.TopicID[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "topic id"))
		for i := range rapid.IntRange(0, 3).Draw(t, "headers") {
			l.Headers = append(l.Headers, Header{Key: anyString().Draw(t, fmt.Sprint("header ", i)), Value: anyBytes().Draw(t, fmt.Sprint("header value ", i))})
		}
		return l
	})
}

// wholeCopies are letters that the topic has whole.
func wholeCopies(ls []Letter) []Letter {
	for i := range ls {
		ls[i].Copied = WholeCopy
	}
	return ls
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}
