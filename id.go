package firetrail

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	mrand "math/rand/v2"
	"time"
)

// ID is an event's id: a UUID version 7 (RFC 9562) of the event's time. Its first 48 bits are the
// time in milliseconds and its next 12, after the version, the rest of it down to the microsecond
// (method 3 of RFC 9562, section 6.2), so that ids sort as their events' times do. IDs are comparable
// with ==. The zero ID is none.
type ID [16]byte

// The layout of a UUIDv7 as used here (big-endian):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                   milliseconds since 1970                     |
//	+-------------------------------+-------+-----------------------+
//	|         milliseconds          | 0111  | rest in µs ×4096/1000 |
//	+---+---------------------------+-------+-----------------------+
//	|10 |                        62 random bits                     |
//	+---+-----------------------------------------------------------+
//
// 12 bits hold 1,000 steps without loss: a step is 4.096 units, so rounding up on the way
// back gives the microsecond again.

func newID(us int64, tail uint64) (id ID) {
	ms, frac := us/1000, us%1000
	binary.BigEndian.PutUint64(id[:], uint64(ms)<<16|0x7000|uint64(frac*4096/1000))
	binary.BigEndian.PutUint64(id[8:], 1<<63|tail>>2)
	return id
}

// IDFrom returns an id of time t that is always the same for the same externalID, so that importing
// the same record twice gives one event. t is taken in microseconds and must be in 1970 to 2199, or
// the event will not be valid.
func IDFrom(t time.Time, externalID string) ID {
	h := sha256.Sum256([]byte(externalID))
	return newID(t.UnixMicro(), binary.BigEndian.Uint64(h[:]))
}

// IDGenerator makes ids. The zero value is not usable; see [NewIDGenerator]. Its method must not be
// called concurrently.
type IDGenerator struct{ random *mrand.ChaCha8 }

// NewIDGenerator returns a generator of ids whose random parts come from ChaCha8 seeded by the system.
func NewIDGenerator() *IDGenerator {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails: crypto/rand ends the program instead
	return &IDGenerator{mrand.NewChaCha8(seed)}
}

// Next returns a new id of the time that is us microseconds after 1970.
func (g *IDGenerator) Next(us int64) ID { return newID(us, g.random.Uint64()) }

// ParseID reads an id in the usual form of a UUID, such as "0192f0c1-7b2e-7abc-8def-0123456789ab",
// upper or lower case. Any version is read; [Event.Validate] asks for version 7.
func ParseID(s string) (id ID, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("id: %.50q is not a UUID", s)
	}
	var bad byte
	for i, at := range [...]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		hi, lo := hexDigits[s[at]], hexDigits[s[at+1]]
		bad |= hi | lo
		id[i] = hi<<4 | lo
	}
	if bad > 0xf {
		return ID{}, fmt.Errorf("id: %.50q is not a UUID", s)
	}
	return id, nil
}

// hexDigits are the values of hexadecimal digits, 0xff for all other bytes.
var hexDigits = func() (t [256]byte) {
	for c := range t {
		t[c] = 0xff
	}
	for v, c := range []byte("0123456789abcdef") {
		t[c], t[bytes.ToUpper([]byte{c})[0]] = byte(v), byte(v)
	}
	return t
}()

// IsZero reports whether id is none.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the id in the usual form of a UUID, lower case.
func (id ID) String() string { return string(id.append(nil)) }

func (id ID) append(b []byte) []byte {
	b = hex.AppendEncode(b, id[:4])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[4:6])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[6:8])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[8:10])
	b = append(b, '-')
	return hex.AppendEncode(b, id[10:])
}

// Compare returns -1, 0 or +1 as id sorts before, with or after other: the order of their times.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Time returns the time the id was made of, in microseconds, UTC. For a UUIDv7 made elsewhere only the
// milliseconds mean anything. The result is meaningless for other versions.
func (id ID) Time() time.Time {
	v := binary.BigEndian.Uint64(id[:])
	frac := (int64(v&0xfff)*1000 + 4095) / 4096
	return time.UnixMicro(int64(v>>16)*1000 + min(frac, 999)).UTC()
}

// MarshalText implements [encoding.TextMarshaler].
func (id ID) MarshalText() ([]byte, error) { return id.append(nil), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// isV7 reports whether id is a UUIDv7.
func (id ID) isV7() bool { return id[6]>>4 == 7 && id[8]>>6 == 2 }

// checkFor reports whether id is a UUIDv7, and one of time t where t isn't zero. Only milliseconds
// are compared: other makers of UUIDv7 put what they like in the bits below.
func (id ID) checkFor(t time.Time) error {
	if !id.isV7() {
		return fmt.Errorf("%s is not a UUIDv7; make it with IDFrom, or leave it empty", id)
	}
	if err := checkTime(id.Time()); err != nil {
		return fmt.Errorf("its time: %w", err)
	}
	if !t.IsZero() && id.Time().UnixMilli() != t.UnixMilli() {
		return fmt.Errorf("%s is of %s, but the event's time is %s", id,
			id.Time().Format(time.RFC3339Nano), t.UTC().Format(time.RFC3339Nano))
	}
	return nil
}
