//go:build integration && unix

package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// report is what a run says at its end.
type report struct {
	Seed     uint64                    `json:"seed"`
	Database string                    `json:"database"`
	Seconds  float64                   `json:"seconds"`
	Faults   map[string]map[string]int `json:"faults"`  // done, by what and how
	Skipped  int                       `json:"skipped"` // faults whose process was not up
	Lives    int                       `json:"lives"`   // of producers

	Fired       int     `json:"fired"` // events whose Fire returned
	Rate        float64 `json:"events_per_second"`
	Cut         int     `json:"cut"` // events that arrived and whose Fire was cut off by the kill
	Unprotected int     `json:"unprotected"`
	Dropped     int     `json:"dropped"`
	Missing     int     `json:"missing"` // of those two
	Lost        int     `json:"lost"`    // of the protected ones
	Again       int     `json:"in_topic_again"`
	Closings    int     `json:"closings"`
	Stored      int     `json:"stored"`
	Rows        int     `json:"rows"`
	Twice       int     `json:"twice"`
	Strange     int     `json:"strange"` // rows of nobody's, or not as they were

	Poison  int            `json:"poison"`
	Letters map[string]int `json:"letters"`

	MaxLag       int64           `json:"max_lag"`
	DrainSeconds float64         `json:"drain_seconds"`
	Verify       json.RawMessage `json:"verify"`
	Problems     []string        `json:"problems"`

	mu sync.Mutex
}

// problem notes what is wrong. Of very many the first are enough.
func (r *report) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	const most = 50
	if len(r.Problems) < most {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

func (r *report) did(f fault) {
	if r.Faults[f.what] == nil {
		r.Faults[f.what] = map[string]int{}
	}
	r.Faults[f.what][f.how]++
}

// print writes the report, and the same as JSON in its last line.
func (r *report) print(t *testing.T, w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-12s "+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(w, "chaos: %s, %.0f s, seed %d\n", r.Database, r.Seconds, r.Seed)
	for _, what := range slices.Sorted(maps.Keys(r.Faults)) {
		line(what, "%v", r.Faults[what])
	}
	line("skipped", "%d faults: what they were for was not up yet", r.Skipped)
	line("fired", "%d events by %d lives of producers, %.0f a second; %d unprotected, %d dropped, of which %d are missing", r.Fired, r.Lives, r.Rate, r.Unprotected, r.Dropped, r.Missing)
	line("cut off", "%d events whose Fire had not returned and that are there", r.Cut)
	line("in Kafka", "%d records more than once", r.Again)
	line("stored", "%d events, %d ends of sources, %d rows in all; %d twice, %d strange", r.Stored, r.Closings, r.Rows, r.Twice, r.Strange)
	line("lost", "%d", r.Lost)
	line("letters", "%v for %d bad records", r.Letters, r.Poison)
	line("lag", "%d records at the most; drained in %v", r.MaxLag, time.Duration(r.DrainSeconds*float64(time.Second)).Round(100*time.Millisecond))
	line("verify", "%s", r.Verify)
	for _, p := range r.Problems {
		line("PROBLEM", "%s", p)
	}
	out, err := json.Marshal(r)
	require.NoError(t, err)
	fmt.Fprintf(w, "chaos-report: %s\n", out)
}
