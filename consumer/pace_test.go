package consumer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// paced is a pace for which somebody waits, and a database.
type paced struct {
	pace
	now   time.Time
	write time.Duration // what a write takes without its rows
	row   time.Duration // and for each
	most  int           // rows of a batch, by something else than the pace
	noise func() float64
	sizes []int
	took  time.Duration
}

func newPaced(most int) *paced {
	p := &paced{
		pace: newPace(Batch{MaxSize: 10_000, MinFlushInterval: 100 * time.Millisecond}), now: time.Now(), most: most,
		noise: func() float64 { return 1 },
	}
	p.came(newPartition(source{testTopic, 1}), p.now)
	return p
}

// writes has so many full batches written.
func (p *paced) writes(n int) {
	p.sizes, p.took = nil, 0
	for range n {
		b := &batch{items: make([]item, min(p.limit(p.now), p.most))}
		b.sample = p.cut(p.now)
		took := time.Duration(float64(p.write+time.Duration(b.len())*p.row) * p.noise())
		p.wrote(b, took)
		p.sizes = append(p.sizes, b.len())
		p.took += took
	}
}

// usual is how many rows most batches have.
func (p *paced) usual() int { return slices.Sorted(slices.Values(p.sizes))[len(p.sizes)/2] }

// The rows of a batch may take a quarter of the interval, or as long as the write takes without them, up to half of it, or a third
// of that. It makes no difference whether it is MaxSize that bounds large batches.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		write, row time.Duration
		want       int
	}{
		"quick":                        {time.Millisecond, time.Microsecond, 10_000},
		"slow rows":                    {3 * time.Millisecond, 100 * time.Microsecond, 250},
		"slow writes":                  {40 * time.Millisecond, 100 * time.Microsecond, 400},
		"slower writes":                {90 * time.Millisecond, 100 * time.Microsecond, 500},
		"writes that take very long":   {600 * time.Millisecond, 100 * time.Microsecond, 2_000},
		"it is not the rows at all":    {time.Second, 0, 10_000},
		"rows that take very long":     {0, 10 * time.Millisecond, fewest},
		"hardly quick enough":          {0, 2500 * time.Nanosecond, 10_000},
		"a little too slow to be so":   {0, 5 * time.Microsecond, 5_000},
		"no database is as quick as 0": {0, 0, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			for _, most := range []int{10_000, 2_500} {
				p := newPaced(most)
				p.write, p.row = c.write, c.row
				p.writes(100)
				p.writes(100)
				require.InDelta(t, min(c.want, most), p.usual(), float64(c.want)/100, "at most %d", most)
			}
		})
	}
}

// Where the database becomes slower or quicker batches follow, but a single write changes little.
func TestPaceFollows(t *testing.T) {
	p := newPaced(10_000)
	p.write, p.row = 3*time.Millisecond, 100*time.Microsecond
	p.writes(200)
	require.InDelta(t, 250, p.rows, 3)
	p.wrote(&batch{items: make([]item, p.rows)}, time.Minute)
	require.InDelta(t, 250, p.rows, 50, "something held it up")
	p.row = 10 * time.Microsecond
	p.writes(300)
	require.InDelta(t, 2500, p.usual(), 400)
	p.row = 100 * time.Microsecond
	p.writes(300)
	require.InDelta(t, 250, p.usual(), 20)
}

// Without a partition that has caught up, or long after, nothing is bounded.
func TestPaceIsForThoseWhoWait(t *testing.T) {
	p := newPaced(10_000)
	p.row = 100 * time.Microsecond
	p.writes(100)
	for p.sampling() {
		p.writes(1)
	}
	require.Less(t, p.limit(p.now), 300)
	require.Equal(t, 10_000, p.limit(p.now.Add(time.Hour)))
	require.False(t, p.cut(p.now.Add(time.Hour)))
	p.quick.high = 5
	require.Equal(t, 10_000, p.limit(p.now), "it is behind itself")
	p.quick.high, p.quick.gone = 0, true
	require.Equal(t, 10_000, p.limit(p.now), "it is another worker's")
	p.quick = nil
	require.Equal(t, 10_000, p.limit(p.now))
}

// With writes that take now half and now twice as long, and some that are held up altogether, batches come to about what they would
// without, and the flood gets a good part of the rate it would have with large ones.
func TestPaceWithNoise(t *testing.T) {
	for name, c := range map[string]struct {
		write, row time.Duration
		want       int
		rate       float64 // of that with batches of 10,000 rows
	}{
		"like ClickHouse": {40 * time.Millisecond, 12 * time.Microsecond, 3_300, 0.5},
		"like SQLite":     {3 * time.Millisecond, 80 * time.Microsecond, 312, 0.8},
		"not the rows":    {time.Second, 0, 10_000, 0.7},
	} {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 2))
			p := newPaced(10_000)
			p.write, p.row = c.write, c.row
			p.noise = func() float64 {
				if rnd.IntN(100) == 0 {
					return 6
				}
				return math.Exp(0.4 * rnd.NormFloat64())
			}
			p.writes(100)
			p.writes(2_000)
			require.Greater(t, p.usual(), c.want*2/3)
			require.Less(t, p.usual(), c.want*3/2)
			rows := 0
			for _, n := range p.sizes {
				rows += n
			}
			large := 10_000 / (c.write + 10_000*c.row).Seconds() / 1.13 // the noise's mean
			require.Greater(t, float64(rows)/p.took.Seconds()/large, c.rate)
		})
	}
}
