package firetrail

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"
)

// hashVersion is the first byte that is hashed; a change of what follows needs another one.
const hashVersion = 1

// ContentHash returns the first 128 bits of the SHA-256 of what the event says: all of its fields but Source,
// Seq and Recorded, which say how it got here. Two events with one id and different hashes are not the
// same event. It is computed over the decoded fields, each with its length before it, in a fixed order:
//
//	version u8 · id 16 · time µs i64 · outcome u8 · truncated u8 · tenant · action · actor type, id, name ·
//	entity type, id · ip · user agent · request id · traceparent · old · new · metadata · extra
//
// (numbers and the 32-bit lengths little-endian), never over wire bytes, and it is the same before shipping, after
// decoding and after reading from a sink: times are taken in microseconds, values without white space,
// bytes that are not UTF-8 as U+FFFD, a missing entity type as its default. A value that can't be encoded counts
// as none.
func (e *Event) ContentHash() [16]byte {
	var stack [1024]byte
	b := e.appendHeadHashed(stack[:0], true)
	extra := e.Extra
	if !extra.IsZero() {
		if x, err := parseExtra(e); err == nil {
			extra = x.value() // in the order in which the decoder gives it
		}
	}
	for _, v := range [...]*Value{&e.Old, &e.New, &e.Metadata, &extra} {
		b = v.appendHashed(b)
	}
	h := sha256.Sum256(b)
	return [16]byte(h[:16])
}

// appendHeadHashed appends what is hashed but for the values. With check, texts may be anything; else they are
// UTF-8.
func (e *Event) appendHeadHashed(b []byte, check bool) []byte {
	b = append(b, hashVersion)
	b = append(b, e.ID[:]...)
	us := int64(math.MinInt64)
	if !e.Time.IsZero() {
		us = e.Time.UnixMicro()
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(us))
	b = append(b, byte(e.Outcome), byte(e.Truncated&truncatedAll))
	for _, s := range [...]string{
		e.Tenant, e.Action.s, e.Actor.Type, e.Actor.ID, e.Actor.Name, e.kind(), e.Entity.ID,
		e.Request.IP, e.Request.UserAgent, e.Request.ID, e.Request.Traceparent,
	} {
		if check && !utf8.ValidString(s) {
			s = replaceInvalid(s)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// appendHashed appends the value's length and its compact JSON. Raw bytes that are no JSON, which never reach the
// wire, are taken as they are.
func (v *Value) appendHashed(b []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	raw := v.raw
	if v.v != nil {
		raw, _ = appendGo(nil, v.v)
	}
	if len(raw) > 0 {
		var err error
		if b, err = appendCompact(b, raw); err != nil {
			b = append(b, raw...)
		}
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// replaceInvalid replaces each byte that is not UTF-8 by U+FFFD, as appendString does.
func replaceInvalid(s string) string {
	var out strings.Builder
	for _, r := range s {
		out.WriteRune(r)
	}
	return out.String()
}
