package firetrail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"
)

// The binary form, version 1. Numbers are little-endian. It is what the write-ahead log keeps between Fire and
// Kafka, and nothing else: made to be written in tens of nanoseconds by the caller of Fire.
//
//	offset  bytes  what
//	     0      1  version, 1
//	     1      1  outcome
//	     2      1  truncated
//	     3      1  0
//	     4      2  length of the source        ─┐
//	     6     16  id                           │
//	    22      8  time, µs since 1970          ├ the stamp: known last, under the producer's lock,
//	    30      8  recorded, µs since 1970      │ hence patched in by StampBinary
//	    38      8  seq                         ─┘
//	    46   11×2  lengths of the texts
//	    68    4×4  lengths of the values; 0 is none
//	    84      -  texts: tenant, action, actor type, actor id, actor name, entity type, entity id,
//	               ip, user agent, request id, traceparent
//	     -      -  values, JSON: new, old, metadata, extra
//	     -      -  source, last because it comes with the stamp
//
// The values stand in the order in which they are worth keeping, so that leaving one out to fit
// MaxPayload is cutting off the end.
const (
	binaryVersion = 1

	offOutcome   = 1
	offTruncated = 2
	offSourceLen = 4
	offID        = 6
	offTime      = 22
	offRecorded  = 30
	offSeq       = 38
	offTextLens  = 46
	offValueLens = 68
	binaryHeader = 84

	binaryTexts  = 11
	binaryValues = 4
)

// noTime is the time of an event that has not been stamped. 0 is a time like any other.
const noTime = math.MinInt64

// MaxBinary is the most bytes that [Event.AppendBinary] appends. The stamp's source comes on top.
const MaxBinary = binaryHeader + binaryTexts*MaxText + 2*MaxPayload

// AppendBinary appends the event in its binary form, all but what [StampBinary] puts in (ID, Time,
// Recorded, Seq, Source), and returns the longer slice. It never fails as a whole and never panics: texts
// over [MaxText] are cut, and values that can't be encoded or do not fit [MaxPayload] are left out.
// A value over MaxPayload by itself goes first; then Metadata, Old, New, until the rest fits. Extra
// may take MaxPayload of its own.
//
// The second result says what was cut or left out now or before (it is in the encoding too), and the error, which is
// for logs and counters only, says why values were left out. An event that is not valid is
// encoded all the same, so that it can become a dead letter. Raw values are not checked.
func (e *Event) AppendBinary(dst []byte) ([]byte, Truncated, error) {
	at := len(dst)
	texts := [binaryTexts]string{
		e.Tenant, e.Action.s, e.Actor.Type, e.Actor.ID, e.Actor.Name, e.kind(), e.Entity.ID,
		e.Request.IP, e.Request.UserAgent, e.Request.ID, e.Request.Traceparent,
	}
	cut := e.Truncated & truncatedAll
	size := 0
	for i := range texts { // by index: ranging over the values copies the array first
		if len(texts[i]) > MaxText {
			texts[i] = cutText(texts[i])
			cut |= TruncatedText
		}
		size += len(texts[i])
	}
	dst = slices.Grow(dst, binaryHeader+size)[:at+binaryHeader+size]
	head := dst[at : at+binaryHeader : at+binaryHeader]
	clear(head)
	head[0] = binaryVersion
	head[offOutcome] = byte(e.Outcome)
	us := int64(noTime)
	binary.LittleEndian.PutUint64(head[offTime:], uint64(us))
	rest := dst[at+binaryHeader:]
	for i := range texts {
		binary.LittleEndian.PutUint16(head[offTextLens+2*i:], uint16(len(texts[i])))
		rest = rest[copy(rest, texts[i]):]
	}
	dst, cut, err := e.appendValues(dst, at, cut)
	dst[at+offTruncated] = byte(cut)
	return dst, cut, err
}

// cutText returns the longest beginning of s that is at most MaxText bytes and splits no rune.
func cutText(s string) string {
	n := MaxText
	for n > MaxText-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// appendValues appends the four values to the event that begins at dst[at].
func (e *Event) appendValues(dst []byte, at int, cut Truncated) ([]byte, Truncated, error) {
	if len(e.New.raw)+len(e.Old.raw)+len(e.Metadata.raw) <= MaxPayload && len(e.Extra.raw) <= MaxPayload &&
		e.New.v == nil && e.Old.v == nil && e.Metadata.v == nil && e.Extra.v == nil {
		return e.appendRaw(dst, at), cut, nil
	}
	w := valueWriter{from: len(dst), dst: dst, cut: cut}
	w.add(0, &e.New, TruncatedNew)
	w.add(1, &e.Old, TruncatedOld)
	w.add(2, &e.Metadata, TruncatedMetadata)
	if w.end(3) > w.from+MaxPayload {
		w.fit()
	}
	w.add(3, &e.Extra, TruncatedExtra)
	for i, n := range w.lens {
		binary.LittleEndian.PutUint32(w.dst[at+offValueLens+4*i:], uint32(n))
	}
	return w.dst, w.cut, w.err
}

// appendRaw is appendValues where every value is raw and fits.
func (e *Event) appendRaw(dst []byte, at int) []byte {
	dst = slices.Grow(dst, len(e.New.raw)+len(e.Old.raw)+len(e.Metadata.raw)+len(e.Extra.raw))
	lens := dst[at+offValueLens:]
	values := [binaryValues][]byte{e.New.raw, e.Old.raw, e.Metadata.raw, e.Extra.raw}
	for i := range values {
		binary.LittleEndian.PutUint32(lens[4*i:], uint32(len(values[i])))
		dst = append(dst, values[i]...)
	}
	return dst
}

var valueNames = [binaryValues]string{"new", "old", "metadata", "extra"}

type valueWriter struct {
	dst  []byte
	from int // where the values begin
	lens [binaryValues]int
	cut  Truncated
	err  error
}

// add appends value i, unless it can't be encoded or is too large by itself.
func (w *valueWriter) add(i int, v *Value, bit Truncated) {
	from, n := len(w.dst), len(v.raw)
	if v.v != nil {
		var err error
		if w.dst, err = appendGo(w.dst, v.v); err != nil {
			w.leaveOut(bit, fmt.Errorf("%s: %w", valueNames[i], err))
			return
		}
		n = len(w.dst) - from
	}
	if n > MaxPayload {
		w.dst = w.dst[:from]
		w.leaveOut(bit, fmt.Errorf("%s: %d bytes; left out, the most is %d", valueNames[i], n, MaxPayload))
		return
	}
	w.dst = append(w.dst, v.raw...) // none beside a Go value
	w.lens[i] = n
}

// end is where the values before value i end.
func (w *valueWriter) end(i int) int {
	end := w.from
	for _, n := range w.lens[:i] {
		end += n
	}
	return end
}

// fit leaves out metadata, then old, until the payload fits; new alone fits, or it would not be here.
func (w *valueWriter) fit() {
	for i := 2; i > 0 && w.end(3) > w.from+MaxPayload; i-- {
		if w.lens[i] == 0 {
			continue
		}
		bit := TruncatedMetadata
		if i == 1 {
			bit = TruncatedOld
		}
		w.leaveOut(bit, fmt.Errorf("%s: left out, the payload is %d bytes and the most is %d",
			valueNames[i], w.end(3)-w.from, MaxPayload))
		w.lens[i] = 0
	}
	w.dst = w.dst[:w.end(3)]
}

func (w *valueWriter) leaveOut(bit Truncated, why error) {
	w.cut |= bit
	w.err = errors.Join(w.err, why)
}

// StampBinary puts s into b, which must be exactly what [Event.AppendBinary] appended to an empty slice,
// appends the source, and returns the longer slice. A b too short to be that is returned as it is.
func StampBinary(b []byte, s Stamp) []byte {
	if len(b) < binaryHeader {
		return b
	}
	source := s.Source[:min(len(s.Source), math.MaxUint16)]
	binary.LittleEndian.PutUint16(b[offSourceLen:], uint16(len(source)))
	copy(b[offID:offTime], s.ID[:])
	binary.LittleEndian.PutUint64(b[offTime:], uint64(s.Time))
	binary.LittleEndian.PutUint64(b[offRecorded:], uint64(s.Recorded))
	binary.LittleEndian.PutUint64(b[offSeq:], s.Seq)
	return append(b, source...)
}

// DecodeBinary reads one event in its binary form. It never panics. It does not validate: an event that
// is not valid comes back as it was given to [Event.AppendBinary], its action too, so that it can become a
// dead letter; call [Event.Validate]. The event's values are parts of b, its texts are copies.
func DecodeBinary(b []byte) (Event, error) {
	if len(b) < binaryHeader {
		return Event{}, fmt.Errorf("binary event: %d bytes are too few; the header takes %d", len(b), binaryHeader)
	}
	if b[0] != binaryVersion {
		return Event{}, fmt.Errorf("binary event: version %d; this program reads version %d", b[0], binaryVersion)
	}
	var lens [binaryTexts + binaryValues]int
	sourceLen := int(binary.LittleEndian.Uint16(b[offSourceLen:]))
	size := binaryHeader + sourceLen
	for i := range binaryTexts {
		lens[i] = int(binary.LittleEndian.Uint16(b[offTextLens+2*i:]))
		size += lens[i]
	}
	textEnd := size - sourceLen
	for i := range binaryValues {
		// No length is over 4 GiB, so five of them can't overflow 64 bits, and 32 bits are refused here.
		n := binary.LittleEndian.Uint32(b[offValueLens+4*i:])
		if uint64(n) > uint64(len(b)) {
			return Event{}, fmt.Errorf("binary event: %s of %d bytes in an event of %d", valueNames[i], n, len(b))
		}
		lens[binaryTexts+i] = int(n)
		size += int(n)
	}
	if size != len(b) {
		return Event{}, fmt.Errorf("binary event: %d bytes, but its lengths add up to %d", len(b), size)
	}
	return decodeBinary(b, &lens, textEnd, sourceLen), nil
}

// decodeBinary reads an event whose lengths have been checked.
func decodeBinary(b []byte, lens *[binaryTexts + binaryValues]int, textEnd, sourceLen int) Event {
	// One allocation holds every text.
	texts := string(b[binaryHeader:textEnd])
	next := func(i int) (s string) {
		s, texts = texts[:lens[i]], texts[lens[i]:]
		return s
	}
	e := Event{
		Outcome:   Outcome(b[offOutcome]),
		Truncated: Truncated(b[offTruncated]) & truncatedAll,
		ID:        ID(b[offID:offTime]),
		Seq:       binary.LittleEndian.Uint64(b[offSeq:]),
		Tenant:    next(0),
		Action:    Name{next(1)},
		Actor:     Actor{Type: next(2), ID: next(3), Name: next(4)},
		Entity:    Entity{Type: next(5), ID: next(6)},
		Request:   Request{IP: next(7), UserAgent: next(8), ID: next(9), Traceparent: next(10)},
		Source:    string(b[len(b)-sourceLen:]),
	}
	if us := int64(binary.LittleEndian.Uint64(b[offTime:])); us != noTime {
		e.Time = time.UnixMicro(us).UTC()
	}
	if us := int64(binary.LittleEndian.Uint64(b[offRecorded:])); us != 0 {
		e.Recorded = time.UnixMicro(us).UTC()
	}
	for i, v := range [...]*Value{&e.New, &e.Old, &e.Metadata, &e.Extra} {
		n := lens[binaryTexts+i]
		if n > 0 {
			v.raw = b[textEnd : textEnd+n : textEnd+n]
		}
		textEnd += n
	}
	return e
}
