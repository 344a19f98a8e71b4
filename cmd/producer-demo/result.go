package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/show"
)

// result is what came of a run. Its counts are those of this run's events: fired in it, or recovered from
// what an earlier run left in the log.
type result struct {
	Fired           int64   `json:"fired"`             // Fire was called
	Recovered       int64   `json:"recovered"`         // found in the log when the producer started
	Shipped         int64   `json:"shipped"`           // acknowledged by the broker
	Stored          int64   `json:"stored"`            // ids that are in the database
	Missing         int64   `json:"missing"`           // ids that are not
	Repeated        int64   `json:"repeated"`          // ids that are there more than once
	Duplicates      int64   `json:"duplicates"`        // deliveries of what was stored already
	DeadLettered    int64   `json:"dead_lettered"`     // of the producer, of the worker, and lines of the input
	Dropped         int64   `json:"dropped"`           // given up by the producer
	Unprotected     int64   `json:"unprotected"`       // were in memory only for a while
	FireNS          fireNS  `json:"fire_ns"`           // duration of Fire
	EndToEndMS      latency `json:"end_to_end_ms"`     // from Fire to stored and committed
	EventsPerSecond float64 `json:"events_per_second"` // from the first Fire (or the start) to the last batch stored
	Seconds         float64 `json:"seconds"`           // the same time
	MaxRSSBytes     int64   `json:"max_rss_bytes"`     // of the whole process, broker included; 0: not known

	missing     []firetrail.ID // some of them
	interrupted bool
}

type fireNS struct {
	P50  int64 `json:"p50"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

type latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// verdict is nil when every id is in the database exactly once.
func (r *result) verdict() error {
	switch {
	case r.Missing > 0 && r.interrupted:
		return fmt.Errorf("interrupted; %s events are not stored yet: --drain-only stores what is in the log", thousands(r.Missing))
	case r.Missing > 0:
		ids := make([]string, len(r.missing))
		for i, id := range r.missing {
			ids[i] = id.String()
		}
		return fmt.Errorf("%s events are not in the database, such as %s", thousands(r.Missing), strings.Join(ids, ", "))
	case r.Repeated > 0:
		return fmt.Errorf("%s events are in the database more than once", thousands(r.Repeated))
	}
	return nil
}

func (r *result) printJSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(r)
}

func (r *result) printTable(w io.Writer) error {
	t := show.NewTable()
	counts := func(name string, n int64, note string) {
		t.AppendRow(table.Row{name, thousands(n), note})
	}
	counts("fired", r.Fired, "")
	if r.Recovered > 0 {
		counts("recovered", r.Recovered, "from the log of an earlier run")
	}
	counts("shipped", r.Shipped, "acknowledged by the broker")
	counts("stored", r.Stored, r.storedNote())
	counts("duplicates", r.Duplicates, "came twice, stored once")
	counts("dead letters", r.DeadLettered, "")
	counts("dropped", r.Dropped, "")
	counts("unprotected", r.Unprotected, "in memory only, for a while")
	if r.Fired > 0 {
		t.AppendRow(table.Row{"Fire", nanos(r.FireNS.P50), fmt.Sprintf("p99 %s, p99.9 %s, max %s",
			nanos(r.FireNS.P99), nanos(r.FireNS.P999), nanos(r.FireNS.Max))})
	}
	if r.EndToEndMS.P50 > 0 {
		t.AppendRow(table.Row{"end to end", millis(r.EndToEndMS.P50), "p99 " + millis(r.EndToEndMS.P99)})
		t.AppendRow(table.Row{"a second", thousands(int64(r.EventsPerSecond)), fmt.Sprintf("in %.1f s", r.Seconds)})
	}
	_, err := io.WriteString(w, show.Lines(t.Render()))
	return err
}

func (r *result) storedNote() string {
	switch {
	case r.Missing > 0:
		return thousands(r.Missing) + " are missing"
	case r.Repeated > 0:
		return thousands(r.Repeated) + " of them more than once"
	case r.Stored == 0:
		return ""
	}
	return "each exactly once, asked by id"
}

func nanos(n int64) string {
	d := time.Duration(n)
	switch {
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d >= 10*time.Microsecond:
		return d.Round(100 * time.Nanosecond).String()
	}
	return d.String()
}

func millis(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Millisecond / 10).String()
}

// thousands prints n with commas.
func thousands(n int64) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
