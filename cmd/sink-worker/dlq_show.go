package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/dlq"
)

type dlqShowCmd struct {
	Letter string `arg:"" placeholder:"LETTER" help:"The letter's id, as list prints it."`

	letterSettings

	Output string `flagonly:"" group:"page" short:"o" default:"table" choice:"table,json" help:"table, or json: an object."`
}

func (p *program) showLetter(ctx context.Context, c *dlqShowCmd) error {
	l := c.check(p)
	end, err := l.open(ctx, p, true)
	if err != nil {
		return err
	}
	defer end()
	sent, err := dlq.ReadJournal(l.journal)
	if err != nil {
		return err
	}
	for e, err := range l.view.Letters(ctx) {
		switch {
		case err != nil:
			return err
		case e.ID != c.Letter:
		case c.Output == "json":
			enc := json.NewEncoder(p.stdout)
			enc.SetIndent("", "  ")
			return enc.Encode(wholeLetter(&e, sent))
		default:
			_, err := io.WriteString(p.stdout, describeLetter(&e, sent))
			return err
		}
	}
	return fmt.Errorf("there is no letter %q; see sink-worker dlq list", c.Letter)
}

// decodeLetter returns the event in a letter, as CloudEvents JSON, or why there is none.
func decodeLetter(l *dlq.Letter) (firetrail.Event, []byte, error) {
	e, err := firetrail.DecodeCloudEvent(l.Message())
	if err != nil {
		return e, nil, err
	}
	b, err := e.AppendCloudEvent(nil)
	return e, b, err
}

// raw is bytes as JSON has them: null, a string where they are text, and {"base64":"…"} where they are not.
func raw(b []byte) any {
	switch {
	case b == nil:
		return nil
	case isText(b):
		return string(b)
	default:
		return map[string]string{"base64": base64.StdEncoding.EncodeToString(b)}
	}
}

func isText(b []byte) bool {
	return utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	})
}

func wholeLetter(e *dlq.Entry, sent map[string]dlq.Redriven) any {
	type header struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	}
	out := struct {
		letterLine
		Time     *time.Time      `json:"time,omitempty"`
		Headers  []header        `json:"headers"`
		Key      any             `json:"key"`
		Value    any             `json:"value"`
		Event    json.RawMessage `json:"event,omitempty"`
		NotEvent string          `json:"not_an_event,omitempty"`
	}{letterLine: letterJSON(e, sent), Headers: []header{}, Key: raw(e.Key), Value: raw(e.Value)}
	if !e.Time.IsZero() {
		out.Time = &e.Time
	}
	for _, h := range e.Headers {
		out.Headers = append(out.Headers, header{h.Key, raw(h.Value)})
	}
	_, event, err := decodeLetter(&e.Letter)
	if err != nil {
		out.NotEvent = err.Error()
	} else {
		out.Event = event
	}
	return out
}

func describeLetter(e *dlq.Entry, sent map[string]dlq.Redriven) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name, show.Clean(fmt.Sprintf(format, args...)))
	}
	line("letter", "%s", e.ID)
	line("state", "%s, kept in %s", letterState(e, sent), keptIn(e))
	if e.File != "" {
		line("file", "%s", e.File)
	}
	line("tenant", "%q", e.Tenant)
	line("reason", "%s", e.Reason)
	line("error", "%s", e.Error)
	line("stage", "%s", e.Stage)
	line("attempts", "%d, redriven %d times", e.Attempts, e.Redrives())
	if !e.FirstFailed.IsZero() {
		line("first failed", "%s", e.FirstFailed.UTC().Format(time.RFC3339Nano))
	}
	line("origin", "%s", origin(&e.Letter))
	if !e.Time.IsZero() {
		line("record's time", "%s", e.Time.UTC().Format(time.RFC3339Nano))
	}
	if d, ok := sent[e.ID]; ok {
		line("redriven", "%s to %s[%d]@%d", d.Time.UTC().Format(time.RFC3339), d.Topic, d.Partition, d.Offset)
	}
	if e.Successor != "" {
		line("failed again", "as letter %s", e.Successor)
	}
	for _, h := range e.Headers {
		line("header", "%s: %s", h.Key, plain(h.Value))
	}
	line("key", "%s", plain(e.Key))
	line("value", "%s", plain(e.Value))
	switch event, json, err := decodeLetter(&e.Letter); {
	case e.Stub:
		line("event", "its bytes are in the directory of the worker that made the letter")
	case err != nil:
		line("event", "none: %s", err)
	default:
		line("event", "%s of %s, id %s", event.Action, event.Time.UTC().Format(time.RFC3339Nano), event.ID)
		line("", "%s", json)
	}
	return b.String()
}

// plain is bytes for a person: as they are, or in base64 where they are no text.
func plain(b []byte) string {
	switch {
	case b == nil:
		return "(null)"
	case len(b) == 0:
		return `(empty)`
	case isText(b):
		return string(b)
	default:
		return "base64 " + base64.StdEncoding.EncodeToString(b)
	}
}
