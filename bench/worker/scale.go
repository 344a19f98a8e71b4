//go:build integration && unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/internal/testenv"
)

// workerShare is the part of a processor that each worker of scale has: so that four of them, the broker and the
// clients' connections have enough on two.
const workerShare = 0.25

// scale measures groups of 1, 2 and 4 workers that discard.
func scale(t *tb, s *settings) error {
	if err := fill(t, s, s.events); err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	lines := [][]string{{"workers", "events/s", "× one", "a worker", "measured over"}}
	var one float64
	for _, n := range []int{1, 2, 4} {
		var rates []float64
		var span string
		for range s.rounds {
			g := &group{settings: s, name: testenv.Unique(t), adm: kadm.NewClient(cl)}
			rate, events, err := g.measure(t.ctx, n)
			if err != nil {
				return fmt.Errorf("%d workers: %w", n, err)
			}
			rates, span = append(rates, rate), fmt.Sprint(events, " events")
		}
		rate := median(rates)
		if n == 1 {
			one = rate
		}
		lines = append(lines, []string{
			strconv.Itoa(n), fmt.Sprintf("%.0f", rate), fmt.Sprintf("%.2f", rate/one), fmt.Sprintf("%.0f", rate/float64(n)), span,
		})
	}
	table(fmt.Sprintf("Workers that discard, as processes of one group, each held to %.2f of a processor; median of %d", workerShare, s.rounds), lines)
	fmt.Fprintln(os.Stdout, "The broker has what is left of the same processors. Measured from a stable group until half of what was left then is committed.")
	return nil
}

// group is workers that share the topic.
type group struct {
	*settings
	name string
	adm  *kadm.Client
}

// measure returns what n workers commit in a second, and over how many events that was found.
func (g *group) measure(ctx context.Context, n int) (rate float64, events int64, err error) {
	cpu, err := newCPULimit(workerShare)
	if err != nil {
		return 0, 0, err
	}
	var (
		cmds  []*exec.Cmd
		waits []func() (outcome, error)
	)
	defer func() {
		for _, cmd := range cmds {
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended: wait says so
		}
		for _, wait := range waits {
			if _, waitErr := wait(); err == nil {
				err = waitErr
			}
		}
		cpu.remove()
	}()
	for i := range n {
		cmd, wait, err := start(job{
			Name: sinkDiscard, Brokers: g.brokers, Topic: g.topic, Letters: g.letters, Events: g.events, Group: g.name, Hold: true,
		})
		if err != nil {
			return 0, 0, err
		}
		cmds, waits = append(cmds, cmd), append(waits, wait)
		if err := cpu.apply(cmd.Process.Pid, i); err != nil {
			return 0, 0, err
		}
	}
	if err := g.poll(ctx, func() (bool, error) { return g.stable(ctx, n) }); err != nil {
		return 0, 0, err
	}
	first, err := g.committed(ctx)
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	left := int64(g.events) - first
	if left < int64(g.events)/4 {
		return 0, 0, fmt.Errorf("only %d events were left once all had joined; give more -events", left)
	}
	err = g.poll(ctx, func() (bool, error) {
		last, err := g.committed(ctx)
		events = last - first
		return events >= left/2, err
	})
	return float64(events) / time.Since(begun).Seconds(), events, err
}

func (g *group) poll(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err) // until then the group's coordinator may not have been there yet
		case <-tick.C:
		}
	}
}

// stable says whether the group has n members, and each of them partitions.
func (g *group) stable(ctx context.Context, n int) (bool, error) {
	groups, err := g.adm.DescribeGroups(ctx, g.name)
	if err != nil {
		return false, err
	}
	described := groups[g.name]
	if described.State != "Stable" || len(described.Members) != n {
		return false, nil
	}
	var assigned int
	for _, m := range described.Members {
		c, ok := m.Assigned.AsConsumer()
		if !ok {
			return false, nil
		}
		mine := 0
		for _, topic := range c.Topics {
			mine += len(topic.Partitions)
		}
		if mine == 0 {
			return false, nil
		}
		assigned += mine
	}
	return assigned == partitions, nil
}

func (g *group) committed(ctx context.Context) (sum int64, err error) {
	offsets, err := g.adm.FetchOffsets(ctx, g.name)
	if err != nil {
		return 0, err
	}
	offsets.Each(func(o kadm.OffsetResponse) { sum += max(o.At, 0) })
	return sum, nil
}

// cpuLimit holds processes to a part of a processor, each by itself, by a control group of Linux (version 1 or 2).
type cpuLimit struct {
	share float64
	root  string
	v2    bool
	made  []string
}

func newCPULimit(share float64) (*cpuLimit, error) {
	for _, l := range []*cpuLimit{{share: share, root: "/sys/fs/cgroup/cpu"}, {share: share, root: "/sys/fs/cgroup", v2: true}} {
		probe := filepath.Join(l.root, "cpu.cfs_quota_us")
		if l.v2 {
			probe = filepath.Join(l.root, "cgroup.controllers")
		}
		if _, err := os.Stat(probe); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("there is no control group for processors here: the curve needs one (Linux, as root)")
}

func (l *cpuLimit) apply(pid, i int) error {
	const period = 20_000 // µs: short, so that a worker rests often instead of long
	dir := filepath.Join(l.root, fmt.Sprintf("firetrail-bench-%d-%d", os.Getpid(), i))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	l.made = append(l.made, dir)
	quota := strconv.Itoa(int(l.share * period))
	files := [][2]string{{"cpu.cfs_period_us", strconv.Itoa(period)}, {"cpu.cfs_quota_us", quota}}
	if l.v2 {
		files = [][2]string{{"cpu.max", quota + " " + strconv.Itoa(period)}}
	}
	for _, f := range append(files, [2]string{"cgroup.procs", strconv.Itoa(pid)}) {
		if err := os.WriteFile(filepath.Join(dir, f[0]), []byte(f[1]), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (l *cpuLimit) remove() {
	for _, dir := range l.made {
		_ = os.Remove(dir) // its process has ended
	}
}
