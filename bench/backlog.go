package main

import (
	"context"
	"fmt"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/wal"
)

// tenants is how many tenants' events a backlog has.
const tenants = 16

func tenant(i int) string { return fmt.Sprint("tenant-00", 10+i%tenants) }

func logConfig(slot string) wal.Config { return wal.Config{Dir: slot, MaxBytes: -1} }

// fill makes a log of events, as a producer leaves it, for as long as more says.
func fill(slot string, more func(records int, size int64) bool) (records int, size int64, err error) {
	l, err := wal.Open(logConfig(slot))
	if err != nil {
		return 0, 0, err
	}
	e := newSample()
	ids, now := firetrail.NewIDGenerator(), time.Now().UnixMicro()
	for ctx := e.context(); more(records, size); records++ {
		now++
		enc, err := e.stamped(ctx, tenant(records), firetrail.Stamp{
			ID: ids.Next(now), Time: now, Recorded: now, Seq: uint64(records/tenants + 1), Source: source,
		})
		if err != nil {
			return 0, 0, err
		}
		_, safe, err := l.Append(1, enc)
		if err == nil && !safe {
			err = l.Sync(ctx)
		}
		if err != nil {
			return 0, 0, err
		}
		size += int64(len(enc))
	}
	return records, size, l.Close(context.Background())
}

// source is a name as long as a real one.
const source = "run-0123456789abcdef0123"

// stamped is the event as the producer writes it to the log.
func (s *sample) stamped(ctx context.Context, tenant string, stamp firetrail.Stamp) ([]byte, error) {
	event := s.raw()
	event.Tenant = tenant
	event.FillFrom(ctx)
	b, _, err := event.AppendBinary(nil)
	return firetrail.StampBinary(b, stamp), err
}
