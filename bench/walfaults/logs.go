package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/nsqio/go-diskqueue"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
	tidwall "github.com/tidwall/wal"

	"github.com/firetrail/firetrail/wal"
)

// subject is a log under trial. Segments are of 1 MiB, so that there are some.
type subject struct {
	name, module string
	files        string // a glob, in the trial's directory: the files of records
	retries      bool   // it tries a full disk again by itself
	open         func(dir string) (writer, error)
	read         func(dir string, r *report) error
}

type writer struct {
	append func([]byte) error
	close  func() error
}

const segmentSize = 1 << 20

func logs() []subject {
	return []subject{
		{"tidwall/wal", "github.com/tidwall/wal", "log/*", false, openTidwall, readTidwall},
		{"hashicorp/raft-wal", "github.com/hashicorp/raft-wal", "log/*.wal", false, openRaft, readRaft},
		{"nsqio/go-diskqueue", "github.com/nsqio/go-diskqueue", "log/q.diskqueue.0*.dat", false, openQueue, readQueue},
		{"Prometheus wlog", "github.com/prometheus/prometheus", "log/0*", false, openProm, readProm},
		{"**firetrail/wal**", "", "log/*.seg", true, openOurs, readOurs},
	}
}

func openTidwall(dir string) (writer, error) {
	l, err := tidwall.Open(dir, &tidwall.Options{SegmentSize: segmentSize})
	if err != nil {
		return writer{}, err
	}
	return writer{func(b []byte) error {
		n, err := l.LastIndex()
		if err != nil {
			return err
		}
		return l.Write(n+1, b)
	}, l.Close}, nil
}

func readTidwall(dir string, r *report) error {
	l, err := tidwall.Open(dir, &tidwall.Options{SegmentSize: segmentSize})
	if err != nil {
		return err
	}
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	for n := first; err == nil && n > 0 && n <= last; n++ {
		var b []byte
		if b, err = l.Read(n); err == nil {
			r.see(b)
		}
	}
	return errors.Join(err, l.Close())
}

func openRaft(dir string) (writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return writer{}, err
	}
	l, err := raftwal.Open(dir, raftwal.WithSegmentSize(segmentSize))
	if err != nil {
		return writer{}, err
	}
	n, err := l.LastIndex()
	if err != nil {
		return writer{}, err
	}
	return writer{func(b []byte) error {
		err := l.StoreLog(&raft.Log{Index: n + 1, Data: b})
		if err == nil {
			n++
		}
		return err
	}, l.Close}, nil
}

func readRaft(dir string, r *report) error {
	l, err := raftwal.Open(dir, raftwal.WithSegmentSize(segmentSize))
	if err != nil {
		return err
	}
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	for n := first; err == nil && n > 0 && n <= last; n++ {
		var entry raft.Log
		if err = l.GetLog(n, &entry); err == nil {
			r.see(entry.Data)
		}
	}
	return errors.Join(err, l.Close())
}

func newQueue(dir string) (diskqueue.Interface, error) {
	err := os.MkdirAll(dir, 0o755)
	return diskqueue.New("q", dir, segmentSize, 1, segmentSize, 100, time.Second, func(diskqueue.LogLevel, string, ...any) {}), err
}

func openQueue(dir string) (writer, error) {
	q, err := newQueue(dir)
	return writer{q.Put, q.Close}, err
}

func readQueue(dir string, r *report) error {
	q, err := newQueue(dir)
	if err != nil {
		return err
	}
	for {
		select {
		case b := <-q.ReadChan():
			r.see(b)
		case <-time.After(500 * time.Millisecond): // it never says that there is no more
			return q.Close()
		}
	}
}

func openProm(dir string) (writer, error) {
	w, err := wlog.NewSize(nil, nil, dir, segmentSize, compression.None)
	if err != nil {
		return writer{}, err
	}
	return writer{func(b []byte) error { return w.Log(b) }, w.Close}, nil
}

func readProm(dir string, r *report) error {
	files, err := wlog.NewSegmentsReader(dir)
	if err != nil {
		return err
	}
	reader := wlog.NewReader(files)
	for reader.Next() {
		r.see(reader.Record())
	}
	return errors.Join(reader.Err(), files.Close())
}

func ours(dir string, lost func(uint64)) wal.Config {
	return wal.Config{
		Dir: dir, RingSize: 2 << 20, MaxRecord: 64 << 10, SegmentSize: segmentSize, MinFree: -1, MaxOverflow: 512 << 10,
		OnLoss: func(l wal.Loss) { lost(l.Records()) },
	}
}

func openOurs(dir string) (writer, error) {
	l, err := wal.Open(ours(dir, func(uint64) {}))
	if err != nil {
		return writer{}, err
	}
	return writer{func(b []byte) error {
		_, _, err := l.Append(1, b)
		return err
	}, func() error { return l.Close(context.Background()) }}, nil
}

func readOurs(dir string, r *report) error {
	l, err := wal.Open(ours(dir, func(n uint64) { r.Lost += n }))
	if err != nil {
		return err
	}
	last := l.Stats().Next - 1
	reader := l.NewReader()
	for batch := []wal.Record(nil); err == nil && reader.Next() <= last; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		batch, err = reader.Read(ctx, batch[:0], 1000)
		cancel()
		for _, rec := range batch {
			r.see(rec.Payload)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // what is missing at the end is lost, and was told
	}
	return errors.Join(err, reader.Close(), l.Close(context.Background()))
}
