package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/wal"
)

// recoverySection opens a log with a large backlog: how fast it is read, and how soon Fire works.
func recoverySection(s *settings) (*table, error) {
	dir := filepath.Join(s.dir, "recovery")
	slot := filepath.Join(dir, "bench", "0")
	records, size, err := fill(slot, func(_ int, size int64) bool { return size < s.backlog })
	if err != nil {
		return nil, err
	}
	plain, scan, ready := time.Hour, time.Hour, time.Hour
	for range min(s.blocks, 3) {
		for _, m := range []struct {
			best *time.Duration
			run  func() (time.Duration, error)
		}{
			{&plain, func() (time.Duration, error) { return readPlain(slot) }},
			{&scan, func() (time.Duration, error) { return readLog(slot, records) }},
			{&ready, func() (time.Duration, error) { return firstFire(dir) }},
		} {
			d, err := m.run()
			if err != nil {
				return nil, err
			}
			*m.best = min(*m.best, d)
		}
	}
	rate := func(d time.Duration) float64 { return float64(size) / 1e6 / d.Seconds() }
	t := &table{
		title:  fmt.Sprintf("Recovery of a backlog of %d MiB, %d records of %d bytes; best of some", size>>20, records, size/int64(records)),
		header: []any{"", "ms", "MB/s"},
	}
	t.row("read(2) of the same files", float64(plain.Milliseconds()), rate(plain))
	t.row("open the log and read it all", float64(scan.Milliseconds()), rate(scan))
	t.row("New, and the first Fire", float64(ready.Microseconds())/1000, "")
	t.note("reading it all: %s", goal(rate(scan) >= 500, "want 500 MB/s"))
	t.note("until the first Fire has returned: %s", goal(ready < 50*time.Millisecond, "want below 50 ms"))
	return t, nil
}

// readPlain reads the files with nothing but read(2).
func readPlain(slot string) (time.Duration, error) {
	begun := time.Now()
	names, err := filepath.Glob(filepath.Join(slot, "*.seg"))
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 1<<20)
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		for err == nil {
			_, err = f.Read(buf)
		}
		_ = f.Close() // it was read only
		if !errors.Is(err, io.EOF) {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

// readLog opens the log and reads its records.
func readLog(slot string, records int) (time.Duration, error) {
	begun := time.Now()
	l, err := wal.Open(logConfig(slot))
	if err != nil {
		return 0, err
	}
	r := l.NewReader()
	var batch []wal.Record
	for n := 0; n < records; n += len(batch) {
		if batch, err = r.Read(context.Background(), batch[:0], 1000); err != nil {
			return 0, err
		}
	}
	took := time.Since(begun)
	if err := r.Close(); err != nil {
		return 0, err
	}
	return took, l.Close(context.Background())
}

// firstFire starts a producer on the backlog, with its broker away, and fires.
func firstFire(dir string) (time.Duration, error) {
	e := newSample()
	ctx := e.context()
	begun := time.Now()
	p, err := producer.New(producer.Config{
		Kafka: kafkaclient.Config{Brokers: []string{"127.0.0.1:1"}}, Dir: dir, Namespace: "bench", MaxBytes: -1, WeakTopic: true,
	})
	if err != nil {
		return 0, err
	}
	p.Fire(ctx, e.raw())
	took := time.Since(begun)
	if n := p.Stats().Unprotected; n > 0 {
		return 0, fmt.Errorf("%d events were unprotected", n)
	}
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_ = p.Close(ctx) // what is left stays in the log
	ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return took, p.Close(ctx)
}
