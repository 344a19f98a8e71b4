package cli

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// The exit codes of a command.
const (
	Done   = 0 // it did what was asked
	Failed = 1 // it could not
	Usage  = 2 // the command line or a setting is wrong
)

// Problems collects what is wrong with the settings, so that all of it is reported at once.
type Problems struct {
	list  []error
	named map[string]bool
}

// Add notes a problem with the named setting. A setting's first problem is the one that is kept: the
// later ones mostly follow from it.
func (p *Problems) Add(name, format string, args ...any) {
	if p.named[name] {
		return
	}
	if p.named == nil {
		p.named = map[string]bool{}
	}
	p.named[name] = true
	p.list = append(p.list, fmt.Errorf(name+": "+format, args...))
}

// Has reports whether the named setting has a problem already.
func (p *Problems) Has(name string) bool { return p.named[name] }

// AddError notes problems that name their settings themselves, such as the ones of a library's
// configuration. Nil is none.
func (p *Problems) AddError(err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		p.list = append(p.list, joined.Unwrap()...)
		return
	}
	p.list = append(p.list, err)
}

// Err returns the problems as one error of exit code [Usage], or nil when there are none.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	sort.SliceStable(p.list, func(i, j int) bool { return p.list[i].Error() < p.list[j].Error() })
	return usageError{errors.Join(p.list...)}
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// hintError is an error of the command line, and what to do about it.
type hintError struct {
	error
	hint string
}

// Exit prints err, if there is one, for a person to read and returns the exit code.
func Exit(stderr io.Writer, program string, err error) int {
	if err == nil {
		return Done
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if len(lines) == 1 {
		_, _ = fmt.Fprintf(stderr, "%s: %s\n", program, lines[0])
	} else {
		_, _ = fmt.Fprintf(stderr, "%s: %d problems:\n", program, len(lines))
		for _, l := range lines {
			_, _ = fmt.Fprintf(stderr, "  %s\n", l)
		}
	}
	var hint hintError
	if errors.As(err, &hint) {
		_, _ = fmt.Fprintln(stderr, hint.hint)
		return Usage
	}
	if errors.As(err, new(usageError)) {
		return Usage
	}
	return Failed
}
