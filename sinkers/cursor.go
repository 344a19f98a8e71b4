package sinkers

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/firetrail/firetrail"
)

// Cursor is an opaque place in a query's result, safe in URLs. It stays valid while events are added:
// the pages after it hold what was older than it. It holds no secret and proves nothing.
type Cursor string

// CursorPosition is what a cursor stands for: the last event that was returned.
type CursorPosition struct {
	Time time.Time // µs
	ID   firetrail.ID
	// Tenant of the event: two tenants may have the same id, and a query over all of them must know
	// between which of the two a page ended.
	Tenant string
}

// A cursor is version u8, time i64 (µs since 1970), id [16]byte, and the tenant as the rest, in unpadded
// base64 of the URL alphabet.
const (
	cursorVersion = 1
	cursorFixed   = 1 + 8 + 16
)

// NewCursor returns the cursor of a page whose last event is e.
func NewCursor(e *firetrail.Event) Cursor {
	b := make([]byte, 0, cursorFixed+len(e.Tenant))
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixMicro()))
	b = append(b, e.ID[:]...)
	b = append(b, e.Tenant...)
	return Cursor(base64.RawURLEncoding.EncodeToString(b))
}

var errCursor = errors.New("cursor: not one that a query returned; begin again without it")

// Position returns what the cursor stands for, and the zero CursorPosition for "".
func (c Cursor) Position() (CursorPosition, error) {
	if c == "" {
		return CursorPosition{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(string(c))
	if err != nil || len(b) < cursorFixed || b[0] != cursorVersion {
		return CursorPosition{}, errCursor
	}
	p := CursorPosition{
		Time:   time.UnixMicro(int64(binary.BigEndian.Uint64(b[1:]))).UTC(),
		ID:     firetrail.ID(b[9:cursorFixed]),
		Tenant: string(b[cursorFixed:]),
	}
	if firetrail.ValidateTenant(p.Tenant) != nil {
		return CursorPosition{}, errCursor
	}
	return p, nil
}
