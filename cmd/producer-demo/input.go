package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/producer-demo/internal/cloudtrail"
)

// badLine is a line of the input that can't be read.
type badLine struct {
	number int
	text   []byte
	err    error
}

// input yields the events of an NDJSON input, over and over until there are as many as were asked for.
type input struct {
	name   string
	open   func() (io.ReadCloser, error)
	once   bool // open works once only
	decode func(line []byte) (firetrail.Event, error)
	onBad  func(badLine) // called in the first round only

	file  io.ReadCloser
	lines *lineReader
	round int
	found int // in this round
	kept  []firetrail.Event
}

// keepAtMost bounds what is kept decoded, so that repeating a small input costs no decoding.
const keepAtMost = 20_000

func newInput(path, format string, stdin io.Reader, onBad func(badLine)) *input {
	in := &input{name: path, onBad: onBad, decode: cloudtrail.Decode}
	if format == formatFiretrail {
		in.decode = decodeFiretrail
	}
	switch path {
	case "":
		in.name, in.open = "the bundled events", openBundled
	case "-":
		in.name, in.once = "stdin", true
		in.open = func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil }
	default:
		in.open = func() (io.ReadCloser, error) { return os.Open(path) }
	}
	return in
}

// decodeFiretrail reads an event as "sink-worker query --output json" and the topic have it. It is fired
// as a new one: what a producer gives, id and sequence among it, is left out. So are the ends of sources.
func decodeFiretrail(line []byte) (firetrail.Event, error) {
	// In Kafka the tenant is the record's key too, and the two must agree.
	var key struct {
		TenantID string `json:"tenantid"`
	}
	if err := json.Unmarshal(line, &key); err != nil {
		return firetrail.Event{}, fmt.Errorf("not an event: %w", err)
	}
	e, err := firetrail.DecodeCloudEvent(firetrail.Message{
		Key:     []byte(key.TenantID),
		Value:   bytes.Clone(line), // the event may keep parts of it
		Headers: []firetrail.Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}},
	})
	if err != nil {
		return e, err
	}
	if e.Action == firetrail.SourceClosed {
		return e, errGiven
	}
	e.ID, e.Source, e.Seq = firetrail.ID{}, "", 0
	return e, errors.Join(e.Validate(), e.Action.CheckReserved())
}

// errGiven is the error of a line that is an event, but not one that anybody fired.
var errGiven = errors.New("given by the producer")

var errNoEvents = errors.New("not one line could be read as an event")

// next returns the next event, or io.EOF when a round is over and repeat is false.
func (in *input) next(repeat bool) (firetrail.Event, error) {
	for {
		if in.round > 0 && in.kept != nil {
			if in.found == len(in.kept) && !repeat {
				return firetrail.Event{}, io.EOF
			}
			in.found %= len(in.kept)
			in.found++
			return in.kept[in.found-1], nil
		}
		e, err := in.read()
		if !errors.Is(err, io.EOF) {
			return e, err
		}
		if in.found == 0 {
			return e, fmt.Errorf("input: %s: %w", in.name, errNoEvents)
		}
		if !repeat || in.once && in.kept == nil {
			return e, io.EOF
		}
		in.round, in.found = in.round+1, 0
	}
}

// read returns the next event of this round; lines that are none go to onBad.
func (in *input) read() (firetrail.Event, error) {
	if in.lines == nil {
		file, err := in.open()
		if err != nil {
			return firetrail.Event{}, fmt.Errorf("input: %w", err)
		}
		in.file, in.lines = file, newLineReader(file)
	}
	for {
		line, err := in.lines.next()
		if err != nil && !errors.Is(err, errLineTooLong) {
			in.close()
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("input: %s: %w", in.name, err)
			}
			return firetrail.Event{}, err
		}
		var e firetrail.Event
		if err == nil {
			e, err = in.decode(line)
		}
		if errors.Is(err, errGiven) {
			continue
		}
		if err != nil {
			if in.round == 0 {
				in.onBad(badLine{in.lines.number, line, err})
			}
			continue
		}
		in.keep(e)
		return e, nil
	}
}

func (in *input) keep(e firetrail.Event) {
	in.found++
	switch {
	case in.round > 0:
	case in.found <= keepAtMost:
		in.kept = append(in.kept, e)
	default:
		in.kept = nil // too many: read them again
	}
}

func (in *input) close() {
	if in.file != nil {
		_ = in.file.Close()
	}
	in.file, in.lines = nil, nil
}
