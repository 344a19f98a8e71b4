package clickhouse

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"sync/atomic"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/firetrail/firetrail/sinkers"
)

// opened is an insert that waits for its end, before which nothing is stored. A nil one is none.
type opened struct{ driver.Batch }

func (o *opened) abort() {
	if o != nil {
		_ = o.Abort() // it cuts the connection
	}
}

// openInsert begins an insert of the chosen rows, and sends them: all that is left to do is to end it, by Send.
func (s *Sink) openInsert(ctx context.Context, rows []sinkers.Row) (*opened, error) {
	const whole = 1 << 40 // all blocks of an insert are stored as one, when it ends, whatever their size: all of its rows, or none
	ctx = clickhouse.Context(ctx,
		clickhouse.WithColumnNamesAndTypes(columnTypes),
		clickhouse.WithSettings(clickhouse.Settings{
			"async_insert":                    0, // else it is answered before the rows are stored
			"insert_deduplicate":              1,
			"insert_deduplication_token":      token(rows, s.chosen),
			"max_partitions_per_insert_block": 0, // an import may hold many months
			"optimize_on_insert":              0, // merges rows of one key, of which there are none here
			"min_insert_block_size_rows":      whole,
			"min_insert_block_size_bytes":     whole,
		}))
	batch, err := s.inserts.PrepareBatch(ctx, insert)
	if err != nil {
		return nil, err
	}
	o := &opened{batch}
	if err := s.fill(ctx, o, rows); err != nil {
		o.abort()
		return nil, err
	}
	return o, nil
}

// token names the rows of an insert by their content: the server drops an insert whose token it has seen. One
// made of offsets would drop a batch in which a letter was mended and read again at the same offset.
func token(rows []sinkers.Row, chosen []int) string {
	sum := sha256.New()
	var b []byte
	for _, i := range chosen {
		r := &rows[i]
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.Tenant)))
		b = append(b, r.Tenant...)
		b = append(b, r.ID[:]...)
		b = append(b, r.Hash[:]...)
		if len(b) >= 4<<10 {
			sum.Write(b)
			b = b[:0]
		}
	}
	sum.Write(b)
	return hex.EncodeToString(sum.Sum(nil))
}

// A block of an insert has no more rows, nor, but for its last row, bytes of values than this: so its columns stay in the
// processor's cache, and the server takes one in while the next is made. Over HTTP the driver sends all in one.
const (
	blockRows  = 4096
	blockBytes = 4 << 20
)

// fill sends the chosen rows, all but the end of the insert: nothing is stored before that.
func (s *Sink) fill(ctx context.Context, o *opened, rows []sinkers.Row) error {
	stop := context.AfterFunc(ctx, s.wire.cutter()) // Flush doesn't look at ctx
	defer stop()
	bytes := 0
	for n, i := range s.chosen {
		s.columns.add(&rows[i], &s.texts[i])
		bytes += s.texts[i].size()
		if n+1 < len(s.chosen) && s.columns.len() < s.blockRows && bytes < blockBytes {
			continue
		}
		bytes = 0
		err := s.columns.appendTo(o.Batch)
		s.columns.reset()
		if err == nil {
			err = o.Flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wire knows the connection that inserts go over, the last that was made for them, so that it can be cut: the driver would
// wait without end for a server that takes in no more. HTTP has a context for that, and never makes one here.
type wire struct {
	tls     *tls.Config
	dialer  net.Dialer
	current atomic.Pointer[net.Conn]
}

// dial is clickhouse.Options.DialContext, as the driver dials without it.
func (w *wire) dial(ctx context.Context, addr string) (conn net.Conn, err error) {
	if w.tls != nil {
		conn, err = (&tls.Dialer{NetDialer: &w.dialer, Config: w.tls}).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = w.dialer.DialContext(ctx, "tcp", addr)
	}
	if err == nil {
		w.current.Store(&conn)
	}
	return conn, err
}

// cutter returns a function that cuts the connection of now.
func (w *wire) cutter() func() {
	conn := w.current.Load()
	return func() {
		if conn != nil {
			_ = (*conn).Close()
		}
	}
}
