package dlq

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"time"
)

// A line of a file:
//
//	{"crc":"9d3f01aa",  "id":"…", … "value":"…"}  \n
//	 |                  |                      |
//	 18 bytes, always   what the crc is of: CRC-32C, 8 lower-case hex digits
//
// The first line is the file's header; it begins with "firetrail" where a letter begins with "id". Every
// other line is a letter and complete in itself, so that damage to one line costs that line alone.

const (
	formatVersion = 1
	crcPrefix     = `{"crc":"00000000",`
	headerStart   = `"firetrail":"letters",`
	// maxLine is the longest line that is written or read. A record of 10 MB takes 20 MB where it has
	// nothing but quotes in it; longer than this is damage, and must not be read into memory.
	maxLine = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fileHeader is the first line of a file.
type fileHeader struct {
	Version int
	Kind    Kind
	Tenant  string
	Letters int
	Reasons map[string]int
	Created time.Time
	// Copied are those of the letters that the topic has whole, Stubs those that it has without their bytes.
	Copied, Stubs int
}

// count adds a letter to those that are copied.
func (h *fileHeader) count(c Copy) {
	switch c {
	case WholeCopy:
		h.Copied++
	case StubCopy:
		h.Stubs++
	}
}

// entry is a letter as it stands in a file.
type entry struct {
	Letter
	scans int // scans in which its destination was reached and refused it
}

func beginLine(b []byte) []byte { return append(b, crcPrefix...) }

// endLine completes the line that began at b[start].
func endLine(b []byte, start int) []byte {
	b = append(b, '}')
	putCRC(b[start+8:], b[start+len(crcPrefix):])
	return append(b, '\n')
}

// checkLine checks a line's CRC and reports whether it is a header. line has no newline.
func checkLine(line []byte) (header bool, err error) {
	if len(line) <= len(crcPrefix) || string(line[:8]) != crcPrefix[:8] || string(line[16:18]) != `",` {
		return false, errors.New(`doesn't begin with a "crc"`)
	}
	var want [8]byte
	putCRC(want[:], line[18:])
	if got := line[8:16]; string(got) != string(want[:]) {
		return false, fmt.Errorf("its crc is %.8q, but its bytes make %s", got, want)
	}
	return bytes.HasPrefix(line[18:], []byte(headerStart)), nil
}

func putCRC(dst, of []byte) {
	sum := crc32.Checksum(of, castagnoli)
	hex.Encode(dst, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

func appendHeader(b []byte, h fileHeader) []byte {
	start := len(b)
	b = append(beginLine(b), headerStart...)
	b = append(b, `"version":`...)
	b = strconv.AppendInt(b, int64(h.Version), 10)
	b = append(b, `,"kind":"`...)
	b = append(b, h.Kind.String()...)
	b = append(b, `","tenant":`...)
	b = appendText(b, h.Tenant)
	b = append(b, `,"letters":`...)
	b = strconv.AppendInt(b, int64(h.Letters), 10)
	b = append(b, `,"reasons":[`...)
	for i, r := range slices.Sorted(maps.Keys(h.Reasons)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"reason":`...)
		b = appendText(b, r)
		b = append(b, `,"letters":`...)
		b = strconv.AppendInt(b, int64(h.Reasons[r]), 10)
		b = append(b, '}')
	}
	b = append(b, ']')
	b = appendCount(b, "copied", h.Copied)
	b = appendCount(b, "stubs", h.Stubs)
	b = append(b, `,"created":`...)
	b = appendText(b, formatTime(h.Created))
	return endLine(b, start)
}

// parseHeader reads a header line that checkLine has passed.
func parseHeader(line []byte) (fileHeader, error) {
	var j struct {
		Version int    `json:"version"`
		Kind    string `json:"kind"`
		Tenant  text   `json:"tenant"`
		Letters int    `json:"letters"`
		Reasons []struct {
			Reason  text `json:"reason"`
			Letters int  `json:"letters"`
		} `json:"reasons"`
		Copied  int    `json:"copied"`
		Stubs   int    `json:"stubs"`
		Created string `json:"created"`
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return fileHeader{}, err
	}
	if j.Version < 1 || min(j.Letters, j.Copied, j.Stubs) < 0 {
		return fileHeader{}, errors.New("header: version or a count out of range")
	}
	created, err := parseTime(j.Created)
	if err != nil {
		return fileHeader{}, err
	}
	h := fileHeader{
		Version: j.Version, Tenant: string(j.Tenant), Letters: j.Letters, Created: created,
		Reasons: make(map[string]int, len(j.Reasons)), Copied: j.Copied, Stubs: j.Stubs,
	}
	if j.Kind == Dead.String() {
		h.Kind = Dead
	}
	for _, r := range j.Reasons {
		h.Reasons[string(r.Reason)] += r.Letters
	}
	return h, nil
}

// appendLetter appends the line of a letter. Empty fields are left out; key and value never are, since
// null and "" differ.
func appendLetter(b []byte, e *entry) []byte {
	start := len(b)
	b = append(beginLine(b), `"id":`...)
	b = appendText(b, e.ID)
	b = append(b, `,"tenant":`...)
	b = appendText(b, e.Tenant)
	b = appendField(b, "reason", e.Reason)
	b = appendField(b, "error", e.Error)
	b = appendField(b, "stage", e.Stage)
	b = append(b, `,"attempts":`...)
	b = strconv.AppendInt(b, int64(e.Attempts), 10)
	b = appendCount(b, "scans", e.scans)
	b = appendField(b, "copied", e.Copied.String())
	b = appendField(b, "first_failed", formatTime(e.FirstFailed))
	b = appendField(b, "topic", e.Topic)
	b = appendField(b, "topic_id", formatTopicID(e.TopicID))
	b = append(b, `,"partition":`...)
	b = strconv.AppendInt(b, int64(e.Partition), 10)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, e.Offset, 10)
	b = appendField(b, "time", formatTime(e.Time))
	b = append(b, `,"headers":[`...)
	for i, h := range e.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"key":`...)
		b = appendText(b, h.Key)
		b = append(b, `,"value":`...)
		b = appendBytes(b, h.Value)
		b = append(b, '}')
	}
	b = append(b, `],"key":`...)
	b = appendBytes(b, e.Key)
	b = append(b, `,"value":`...)
	b = appendBytes(b, e.Value)
	return endLine(b, start)
}

func appendCount(b []byte, name string, n int) []byte {
	if n == 0 {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return strconv.AppendInt(b, int64(n), 10)
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendText(b, value)
}

func appendBytes(b, value []byte) []byte {
	if value == nil {
		return append(b, "null"...)
	}
	return appendText(b, value)
}

func formatTopicID(id [16]byte) string {
	if id == [16]byte{} {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func parseTopicID(s string) (id [16]byte, err error) {
	if s == "" {
		return id, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("topic id %.50q is not 22 characters of base64url", s)
	}
	return [16]byte(b), nil
}

// parseLetter reads a letter's line that checkLine has passed.
func parseLetter(line []byte) (entry, error) {
	var j struct {
		ID          text   `json:"id"`
		Tenant      text   `json:"tenant"`
		Reason      text   `json:"reason"`
		Error       text   `json:"error"`
		Stage       text   `json:"stage"`
		Attempts    int    `json:"attempts"`
		Scans       int    `json:"scans"`
		Copied      string `json:"copied"`
		FirstFailed string `json:"first_failed"`
		Topic       text   `json:"topic"`
		TopicID     string `json:"topic_id"`
		Partition   int32  `json:"partition"`
		Offset      int64  `json:"offset"`
		Time        string `json:"time"`
		Headers     []struct {
			Key   text `json:"key"`
			Value text `json:"value"`
		} `json:"headers"`
		Key   text `json:"key"`
		Value text `json:"value"`
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return entry{}, err
	}
	topicID, errID := parseTopicID(j.TopicID)
	failed, errFailed := parseTime(j.FirstFailed)
	at, errTime := parseTime(j.Time)
	if err := errors.Join(errID, errFailed, errTime); err != nil {
		return entry{}, err
	}
	e := entry{scans: j.Scans, Letter: Letter{
		ID: string(j.ID), Tenant: string(j.Tenant), Reason: string(j.Reason), Error: string(j.Error),
		Stage: string(j.Stage), Attempts: j.Attempts, FirstFailed: failed, Topic: string(j.Topic),
		TopicID: topicID, Partition: j.Partition, Offset: j.Offset, Time: at, Copied: parseCopy(j.Copied), Key: j.Key, Value: j.Value,
	}}
	for _, h := range j.Headers {
		e.Headers = append(e.Headers, Header{Key: string(h.Key), Value: h.Value})
	}
	return e, nil
}
