package dlq

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// Redriven says where a letter was redriven to.
type Redriven struct {
	LetterID  string
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time
}

// Journal is the file in which a redrive keeps what it has sent, so that the next one doesn't send it again. It
// is NDJSON; a line is added when the broker has acknowledged a letter, and never changed:
//
//	{"crc":"1b2c3d4e","redriven":"AQIDAAAAAAAAAAAAAAAAAA:4:7","topic":"audit.events","partition":4,"offset":912,"time":"2026-03-01T12:00:00Z"}
//
// A line that isn't whole, as a crash leaves one at the end, says nothing. A Journal is not for concurrent use.
type Journal struct {
	path string
	file *os.File
	lock *flock.Flock
	sent map[string]Redriven
}

// ErrJournalBusy says that another redrive is at work with the journal.
var ErrJournalBusy = errors.New("dlq: another redrive is using the journal")

// OpenJournal opens the journal at path, makes it if it isn't there, and takes its lock.
func OpenJournal(path string) (*Journal, error) {
	j, err := openJournal(path)
	if err != nil {
		return nil, fmt.Errorf("dlq: journal %s: %w", path, err)
	}
	return j, nil
}

func openJournal(path string) (*Journal, error) {
	if err := (diskFS{}).MkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, file: f, lock: flock.New(path, flock.SetFlag(os.O_RDWR))}
	switch ok, err := j.lock.TryLock(); {
	case err != nil:
		return nil, errors.Join(err, j.Close())
	case !ok:
		return nil, errors.Join(ErrJournalBusy, j.Close())
	}
	j.sent, err = readJournal(f)
	if err == nil {
		err = j.endLine()
	}
	if err == nil {
		err = (diskFS{}).SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// endLine ends the line that a crash cut off, so that the next one doesn't become a part of it.
func (j *Journal) endLine() error {
	end, err := j.file.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return err
	}
	var last [1]byte
	if _, err := j.file.ReadAt(last[:], end-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = j.file.WriteString("\n")
	return err
}

// ReadJournal returns what the journal at path says, by the letters' ids; nothing where there is none.
func ReadJournal(path string) (map[string]Redriven, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dlq: journal: %w", err)
	}
	sent, err := readJournal(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("dlq: journal %s: %w", path, err)
	}
	return sent, nil
}

// maxJournalLine is longer than any line: an id has 128 bytes, a topic's name 249.
const maxJournalLine = 64 << 10

func readJournal(r io.Reader) (map[string]Redriven, error) {
	sent := map[string]Redriven{}
	lines := newFileReader("", r, 64<<10)
	lines.max = maxJournalLine
	for {
		line, err := lines.readLine()
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return nil, err
		}
		if _, err := checkLine(line); err != nil {
			continue
		}
		if d, ok := parseRedriven(line); ok {
			sent[d.LetterID] = d
		}
	}
}

func parseRedriven(line []byte) (Redriven, bool) {
	var j struct {
		ID        text   `json:"redriven"`
		Topic     text   `json:"topic"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
		Time      string `json:"time"`
	}
	if json.Unmarshal(line, &j) != nil || j.ID == nil {
		return Redriven{}, false
	}
	at, err := parseTime(j.Time)
	return Redriven{LetterID: string(j.ID), Topic: string(j.Topic), Partition: j.Partition, Offset: j.Offset, Time: at}, err == nil
}

func appendRedriven(b []byte, d *Redriven) []byte {
	start := len(b)
	b = append(beginLine(b), `"redriven":`...)
	b = appendText(b, d.LetterID)
	b = append(b, `,"topic":`...)
	b = appendText(b, d.Topic)
	b = fmt.Appendf(b, `,"partition":%d,"offset":%d`, d.Partition, d.Offset)
	b = appendField(b, "time", formatTime(d.Time))
	return endLine(b, start)
}

// Sent returns what is known of a letter; ok is false where it was not redriven.
func (j *Journal) Sent(letterID string) (d Redriven, ok bool) {
	d, ok = j.sent[letterID]
	return d, ok
}

// Add keeps what was sent, durably.
func (j *Journal) Add(sent []Redriven) error {
	w := bufio.NewWriter(j.file)
	var line []byte
	for i := range sent {
		line = appendRedriven(line[:0], &sent[i])
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("dlq: journal %s: %w", j.path, err)
		}
	}
	if err := errors.Join(w.Flush(), j.file.Sync()); err != nil {
		return fmt.Errorf("dlq: journal %s: %w", j.path, err)
	}
	for _, d := range sent {
		j.sent[d.LetterID] = d
	}
	return nil
}

// Close closes the file and gives the lock back.
func (j *Journal) Close() error { return errors.Join(j.file.Close(), j.lock.Close()) }
