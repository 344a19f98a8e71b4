package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"github.com/firetrail/firetrail/wal"
)

// recordSize is a record's, in bytes, of the sections on the log.
const recordSize = 400

// logSection is Append beside the least that a log can do: check the sum of a record and copy it to memory.
func logSection(s *settings) (*table, error) {
	record := bytes.Repeat([]byte("r"), recordSize)
	disk, err := wal.Open(wal.Config{Dir: filepath.Join(s.dir, "log")})
	if err != nil {
		return nil, err
	}
	memory, err := wal.OpenMemory(wal.Config{})
	if err != nil {
		return nil, err
	}
	all := []candidate{
		{name: "checksum and copy", kind: inMemory, fire: copier(record)},
		appender("Append, log in memory", inMemory, memory, record),
		appender("Append, log on disk", inLog, disk, record),
	}
	results := measure(s, all)
	t := &table{
		title:  fmt.Sprintf("The log: one record of %d bytes, bursts of %d", recordSize, burst),
		header: []any{"", "kept in", "ns a record", "× the ceiling", "best burst", "allocations"},
	}
	for i, c := range all {
		t.row(c.name, c.kind, results[i].ns, results[i].ns/results[0].ns, results[i].least, results[i].allocs)
	}
	if n := disk.Stats().Unprotected; n > 0 {
		err = fmt.Errorf("%d records were unprotected", n)
	}
	_ = closeAll(all) // to end the goroutines; the files go with the directory
	return t, err
}

// copier copies the record, its length and checksum, to the next place of a ring.
func copier(record []byte) func() {
	ring := make([]byte, 16<<20)
	for i := range ring { // fault it in
		ring[i] = 1
	}
	sums := crc32.MakeTable(crc32.Castagnoli)
	at := 0
	return func() {
		if at+recordSize+8 > len(ring) {
			at = 0
		}
		binary.LittleEndian.PutUint32(ring[at:], recordSize)
		binary.LittleEndian.PutUint32(ring[at+4:], crc32.Checksum(record, sums))
		copy(ring[at+8:], record)
		at += recordSize + 8
	}
}

func appender(name string, k kind, l *wal.Log, record []byte) candidate {
	return candidate{
		name: name, kind: k,
		fire: func() {
			if _, _, err := l.Append(1, record); err != nil {
				panic(fmt.Sprint("bench: ", err)) // it is released before each burst: there is room
			}
		},
		rest: func() {
			_ = l.Sync(context.Background()) // memory has nothing to sync, and says so
			l.Release(l.Stats().Next - 1)
		},
		close: func() error { return l.Close(context.Background()) },
	}
}
