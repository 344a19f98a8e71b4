package dlq

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// View is the letters of a directory, of a topic, or of both as one: each letter once, whatever forms it is
// kept in. It changes nothing.
type View struct {
	// Dir holds letters as files. Nil: none.
	Dir *Dir
	// Topic holds letters as records. Empty: none.
	Topic string
	// Kafka says how to reach the brokers of Topic (see package kafkaclient).
	Kafka []kgo.Opt
	// OnProblem is told of what can't be read: damage to a file (a *DamageError), a record that is no letter
	// (ErrNotLetter) or not wholly one. What is around it is shown. Nil: nobody is told.
	OnProblem func(error)
}

// Entry is a letter in a View.
type Entry struct {
	Letter
	// Kind is Waiting for a letter that the retry engine of a directory tries again, and otherwise Dead.
	Kind Kind
	// File it is in, by its name; empty where only the topic has it.
	File string
	// InTopic says that the topic has it.
	InTopic bool
	// Stub says that its bytes are not here: it was larger than the topic takes, and is in the directory
	// of the worker that made it.
	Stub bool
	// Successor is the id of the letter that it became when it was redriven and failed again.
	Successor string
}

// Redrives is how often the record was redriven before it became this letter.
func (l *Letter) Redrives() int {
	n, _ := l.redriven()
	return n
}

// Filter chooses letters. The zero value takes all.
type Filter struct {
	// ID of the letter; empty: any.
	ID string
	// Tenant; nil: any.
	Tenant *string
	// Reason; empty: any. See the Reason constants.
	Reason string
	// Topic that the record came from; empty: any.
	Topic string
	// Partition of it; nil: any.
	Partition *int32
	// Since and Until bound when it failed first: from Since, before Until. A zero time bounds nothing.
	Since, Until time.Time
}

// Match reports whether l is one of those.
func (f Filter) Match(l *Letter) bool {
	return (f.ID == "" || f.ID == l.ID) && (f.Tenant == nil || *f.Tenant == l.Tenant) &&
		(f.Reason == "" || f.Reason == l.Reason) && (f.Topic == "" || f.Topic == l.Topic) &&
		(f.Partition == nil || *f.Partition == l.Partition) &&
		(f.Since.IsZero() || !l.FirstFailed.Before(f.Since)) && (f.Until.IsZero() || l.FirstFailed.Before(f.Until))
}

// Letters yields every letter once, as of the call: those of the directory, a file after the other, the
// oldest first, and then those that only the topic has. An error is yielded once, last; what it means for
// single letters, OnProblem is told. It reads directory and topic twice, the first time for what they say of
// each other's letters; of each letter that keeps the id in memory.
func (v View) Letters(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		x := &viewIndex{forms: map[string]form{}, successors: map[string]string{}}
		index := func(e Entry) bool { x.add(&e); return true }
		quiet := v
		quiet.OnProblem = nil
		err := quiet.eachTopic(ctx, index)
		if err == nil {
			err = quiet.eachFile(ctx, index)
		}
		show := func(e Entry) bool { return !x.first(&e) || yield(e, nil) }
		if err == nil {
			err = v.eachFile(ctx, show)
		}
		if err == nil {
			err = v.eachTopic(ctx, show)
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, err)
		}
	}
}

// form says in which forms a letter is kept.
type form uint8

const (
	inTopic form = 1 << iota
	inFile
	waits
	shown
)

// viewIndex is what is known of the letters after the first reading.
type viewIndex struct {
	forms      map[string]form
	successors map[string]string
}

func (x *viewIndex) add(e *Entry) {
	f := inTopic
	if e.File != "" {
		f = inFile
	}
	if e.Kind == Waiting {
		f |= waits
	}
	x.forms[e.ID] |= f
	if n, from := e.redriven(); n > 0 && from != e.ID {
		x.successors[from] = e.ID
	}
}

// first completes an entry, and reports whether its letter was not shown yet.
func (x *viewIndex) first(e *Entry) bool {
	f := x.forms[e.ID]
	if f&shown != 0 {
		return false
	}
	x.forms[e.ID] = f | shown
	e.InTopic = e.InTopic || f&inTopic != 0
	if f&waits != 0 {
		e.Kind = Waiting
	}
	e.Successor = x.successors[e.ID]
	return true
}

func (v View) problem(err error) {
	if v.OnProblem != nil {
		v.OnProblem(err)
	}
}

// eachFile calls show for the letters of the directory until it returns false, which is errStop.
func (v View) eachFile(ctx context.Context, show func(Entry) bool) error {
	if v.Dir == nil {
		return nil
	}
	for f, err := range v.Dir.Files(ctx) {
		if err != nil {
			return err
		}
		if f.Kind == Damaged {
			continue // what was whole in it is in other files
		}
		for l, err := range v.Dir.ReadFile(ctx, f.Path) {
			var damage *DamageError
			switch {
			case errors.Is(err, fs.ErrNotExist): // delivered, discarded or renamed since
			case errors.As(err, &damage):
				v.problem(err)
			case err != nil:
				return err
			case !show(Entry{Letter: l, Kind: f.Kind, File: filepath.Base(f.Path)}):
				return errStop
			}
		}
	}
	return nil
}

// eachTopic is eachFile for the topic.
func (v View) eachTopic(ctx context.Context, show func(Entry) bool) error {
	if v.Topic == "" {
		return nil
	}
	for l, err := range ReadTopic(ctx, v.Topic, v.Kafka...) {
		switch {
		case errors.As(err, new(*topicError)):
			return err
		case errors.Is(err, ErrNotLetter):
			v.problem(err)
			continue
		case err != nil:
			v.problem(err)
		}
		if !show(Entry{Letter: l, Kind: Dead, InTopic: true, Stub: l.isStub()}) {
			return errStop
		}
	}
	return nil
}
