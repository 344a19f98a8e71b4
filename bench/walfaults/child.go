package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"
)

// recordSize is a record's, in bytes.
const recordSize = 400

// record is the nth: its number, letters, a checksum.
func record(n uint64) []byte {
	b := make([]byte, recordSize)
	for i := range b {
		b[i] = byte('a' + (uint64(i)+n)%26)
	}
	binary.LittleEndian.PutUint64(b, n)
	binary.LittleEndian.PutUint32(b[recordSize-4:], crc32.ChecksumIEEE(b[:recordSize-4]))
	return b
}

// see enters what a log gave as a record.
func (r *report) see(b []byte) {
	if len(b) != recordSize || crc32.ChecksumIEEE(b[:recordSize-4]) != binary.LittleEndian.Uint32(b[recordSize-4:]) {
		r.Garbage++
		return
	}
	r.Found = append(r.Found, binary.LittleEndian.Uint64(b))
}

func ballast(dir string) string { return filepath.Join(dir, "ballast") }

// child does one step and says what came of it.
func child(name, what, dir string) error {
	for _, l := range logs() {
		if l.name != name {
			continue
		}
		var r report
		var err error
		dir := filepath.Join(dir, "log")
		switch what {
		case "write":
			err = write(l, dir, &r)
		case "read":
			err = l.read(dir, &r)
		case "full":
			err = fill(l, dir, &r)
		case "second":
			err = second(l, dir, &r)
		default:
			return fmt.Errorf("no such step: %s", what)
		}
		if err != nil {
			r.Err = err.Error()
		}
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	return fmt.Errorf("no such log: %s", name)
}

func write(l subject, dir string, r *report) error {
	w, err := l.open(dir)
	if err != nil {
		return err
	}
	for n := uint64(1); n <= written; n++ {
		if err := w.append(record(n)); err != nil {
			return err
		}
		r.Accepted = append(r.Accepted, n)
	}
	return w.close()
}

// fill appends until that fails and a little longer, makes room, and goes on.
func fill(l subject, dir string, r *report) error {
	w, err := l.open(dir)
	if err != nil {
		return err
	}
	n := uint64(0)
	try := func() bool {
		n++
		err := w.append(record(n))
		if err == nil {
			r.Accepted = append(r.Accepted, n)
		}
		return err == nil
	}
	const most = 40_000 // 16 MB, of 10
	for n < most && try() {
	}
	for range 50 {
		try()
	}
	if err := os.Remove(ballast(filepath.Dir(dir))); err != nil {
		return err
	}
	// What there is room for now; a log that tries again by itself may take its time for it.
	for ready := time.Now().Add(5 * time.Second); r.Tries < 2000; {
		if try() {
			r.After++
			r.Tries++
			continue
		}
		if l.retries && time.Now().Before(ready) {
			<-time.After(10 * time.Millisecond)
			continue
		}
		r.Tries++
	}
	return w.close()
}

// second opens the directory while it is open.
func second(l subject, dir string, r *report) error {
	w, err := l.open(dir)
	if err != nil {
		return err
	}
	if err := w.append(record(1)); err != nil {
		return err
	}
	done := make(chan string, 1)
	go func() {
		if _, err := l.open(dir); err != nil {
			done <- "refused"
			return
		}
		done <- "allowed"
	}()
	select {
	case r.Opened = <-done:
	case <-time.After(5 * time.Second):
		r.Opened = "waits without end"
	}
	return nil // the process ends
}
