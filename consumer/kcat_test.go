//go:build integration

package consumer_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
)

// TestKcat reads what the producer wrote with a client that nobody here made.
func TestKcat(t *testing.T) {
	p := newPipeline(t)
	pr := p.producer(t)
	pr.Fire(context.Background(), uploaded.Event(firetrail.Input[map[string]any]{Tenant: "Zürich", New: &map[string]any{"n": 1}}))
	require.NoError(t, pr.Flush(deadline(t)))
	require.NoError(t, pr.Close(deadline(t)))
	out := testenv.Kcat(t, p.addrs, "-C", "-t", p.topic, "-o", "beginning", "-e", "-q", "-f", `%k\n%h\n%s\n`)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 6, "the event, and the end of its source")
	require.Equal(t, "Zürich", lines[0])
	require.Equal(t, "content-type=application/cloudevents+json", lines[1])
	var event struct {
		Specversion, Type, Tenantid, Sequence string
		Data                                  struct{ New map[string]any }
	}
	require.NoError(t, json.Unmarshal([]byte(lines[2]), &event))
	require.Equal(t, "1.0", event.Specversion)
	require.Equal(t, "file.uploaded", event.Type)
	require.Equal(t, "Zürich", event.Tenantid)
	require.Equal(t, "00000000000000000001", event.Sequence)
	require.Equal(t, map[string]any{"n": 1.0}, event.Data.New)
	require.Contains(t, lines[5], `"type":"firetrail.closed"`)
}
