package dlq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// foreignField is what a header of somebody else's letter says.
type foreignField uint8

const (
	foreignOther foreignField = iota // one of the letter's headers, of no use to us
	foreignTopic
	foreignPartition
	foreignOffset
	foreignTime
	foreignStage
	foreignReason
	foreignError
)

// foreignHeaders maps the headers that are understood. Whatever else begins with one of
// foreignPrefixes is the letter's too, and not the original's.
var foreignHeaders = map[string]foreignField{
	headerTopic:     foreignTopic,
	headerPartition: foreignPartition,
	headerOffset:    foreignOffset,
	headerStage:     foreignStage,
	headerReason:    foreignReason,
	headerError:     foreignError,

	"kafka_dlt-original-topic":     foreignTopic,
	"kafka_dlt-original-partition": foreignPartition,
	"kafka_dlt-original-offset":    foreignOffset,
	"kafka_dlt-original-timestamp": foreignTime,
	"kafka_dlt-exception-fqcn":     foreignReason,
	"kafka_dlt-exception-message":  foreignError,

	"__streams.errors.topic":     foreignTopic,
	"__streams.errors.partition": foreignPartition,
	"__streams.errors.offset":    foreignOffset,
	"__streams.errors.exception": foreignReason,
	"__streams.errors.message":   foreignError,
}

var foreignPrefixes = []string{"__connect.errors.", "kafka_dlt-", "__streams.errors."}

// parseForeign reads a letter of Kafka Connect, Spring or Kafka Streams. Of a record that became a letter
// more than once, the origin is the first one told, where the record belongs, and the error the last.
func parseForeign(r *kgo.Record) (Letter, error) {
	l := Letter{Key: r.Key, Value: r.Value, Tenant: string(r.Key), Partition: -1, Offset: -1}
	var errs []error
	var seen [foreignError + 1]bool
	found := false
	for _, h := range r.Headers {
		field, isForeign := foreignHeaders[h.Key]
		for _, p := range foreignPrefixes {
			isForeign = isForeign || strings.HasPrefix(h.Key, p)
		}
		if !isForeign {
			l.Headers = append(l.Headers, Header{Key: h.Key, Value: h.Value})
			continue
		}
		found = true
		if seen[field] && field <= foreignTime {
			continue
		}
		seen[field] = true
		if err := l.setForeign(field, h.Value); err != nil {
			errs = append(errs, fmt.Errorf("dlq: header %s: %w", h.Key, err))
		}
	}
	if !found {
		return l, ErrNotLetter
	}
	// They don't tell when it failed; the letter was written soon after.
	l.FirstFailed = r.Timestamp.UTC()
	l.ID = l.Topic + ":" + strconv.Itoa(int(l.Partition)) + ":" + strconv.FormatInt(l.Offset, 10)
	if l.Topic == "" || l.Partition < 0 || l.Offset < 0 {
		// The origin isn't told in full: the letter's own place is as good to tell it apart.
		l.ID = r.Topic + ":" + strconv.Itoa(int(r.Partition)) + ":" + strconv.FormatInt(r.Offset, 10)
	}
	return l, errors.Join(errs...)
}

func (l *Letter) setForeign(field foreignField, v []byte) error {
	switch field {
	case foreignTopic:
		l.Topic = string(v)
	case foreignPartition:
		n, err := foreignInt(v)
		if err == nil && n != int64(int32(n)) {
			err = fmt.Errorf("%d is no partition", n)
		}
		if err != nil {
			return err
		}
		l.Partition = int32(n)
	case foreignOffset:
		n, err := foreignInt(v)
		if err != nil {
			return err
		}
		l.Offset = n
	case foreignTime:
		n, err := foreignInt(v)
		if err != nil {
			return err
		}
		l.Time = time.UnixMilli(n).UTC()
	case foreignStage:
		l.Stage = string(v)
	case foreignReason:
		l.Reason = string(v)
	case foreignError:
		l.Error = string(v)
	}
	return nil
}

// foreignInt reads a number as Connect and Streams write it, in decimal, or as Spring does, big-endian in
// 4 or 8 bytes. They can't be taken for one another: as big-endian, bytes that are all digits would be
// partitions from 800 million and offsets from 3·10^18.
func foreignInt(v []byte) (int64, error) {
	if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
		return n, nil
	}
	switch len(v) {
	case 4:
		return int64(int32(binary.BigEndian.Uint32(v))), nil
	case 8:
		return int64(binary.BigEndian.Uint64(v)), nil
	}
	return 0, fmt.Errorf("%.50q is no number", v)
}
