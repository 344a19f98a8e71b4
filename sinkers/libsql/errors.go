package libsql

import (
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
)

// Errors of a Sink, found with errors.Is.
var (
	// ErrLeased is the error of Open while another process, or another Sink of this one, is writing to the
	// database.
	ErrLeased = errors.New("another process is writing to it")
	// ErrLeaseLost is the error of writing after another has taken the lease, since this Sink stood still or
	// could not reach the server for too long. It is for good: open the database again.
	ErrLeaseLost = errors.New("another process has taken over writing to it")
	// ErrReadOnly is the error of writing to a read-only Sink.
	ErrReadOnly = errors.New("opened for reading only")
	// ErrBeside is the error of storing events through a Sink that is beside another.
	ErrBeside = errors.New("opened for maintenance beside a worker; it stores no events")
	// ErrClosed is the error of every method after Close.
	ErrClosed = errors.New("closed")
	// ErrUnauthorized is the error of a server that doesn't take the token: wrong, expired, or missing.
	ErrUnauthorized = errors.New("the server does not take the token; is it the right one, and not expired?")
	// ErrForbidden is the error of a server whose token allows reading alone.
	ErrForbidden = errors.New("the token does not allow it; want one that may write")
	// ErrNoDatabase is the error of a server that has no such database.
	ErrNoDatabase = errors.New("the server has no such database, or none for this token; correct the url")
)

// clientError is an error of the client library, in which little but its text tells what happened.
type clientError struct {
	text string
	kind error // one of ours, or nil
	err  error // nil where the library's type means something else to database/sql
}

func (e *clientError) Error() string {
	if e.kind != nil {
		return e.kind.Error() + " (" + e.text + ")"
	}
	return e.text
}

func (e *clientError) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.kind, e.err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// isAway says whether opening the database may succeed later, with the same settings. The library tells little but text.
func isAway(err error) bool {
	var e *clientError
	if errors.As(err, &e) {
		said := e.text
		if i := strings.LastIndex(said, sqliteSays); i >= 0 {
			return strings.HasPrefix(said[i+len(sqliteSays):], "database is locked")
		}
		if e.kind == nil && strings.HasPrefix(said, "error code 5") { // HTTP's: the server, or a proxy before it
			return true
		}
	}
	return errors.Is(err, driver.ErrBadConn) || backend.Unreachable(err)
}

// explain makes a clientError of what the library says of a statement: without the statement, which it
// repeats, and with the kind of error.
func explain(err error, statement string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if statement != "" {
		text = strings.ReplaceAll(text, "unable to execute "+statement+": ", "")
	}
	text = strings.TrimSpace(strings.TrimPrefix(text, "failed to execute SQL:\n"))
	e := &clientError{text: text, err: err}
	switch {
	case isStale(text):
		return driver.ErrBadConn // database/sql tries again by another connection
	case strings.HasPrefix(text, "error code 401"), strings.Contains(text, "Authentication failed"):
		e.kind = ErrUnauthorized
	case strings.HasPrefix(text, "error code 403"):
		e.kind = ErrForbidden
	case strings.HasPrefix(text, "error code 404"):
		e.kind = ErrNoDatabase
	}
	return e
}

// isStale says whether the server doesn't know the stream (its word for a connection over HTTP) any more: it ends one
// after 10 s without a request, and all of them when it ends itself. It has done nothing then.
func isStale(text string) bool {
	return text == "error code 400:" || strings.HasPrefix(text, "error code 400: Received an invalid baton") ||
		strings.Contains(text, "STREAM_EXPIRED")
}

// fromDatabase says whether the answer is the database's own, so that the connection is as good as before.
func fromDatabase(text string) bool {
	return strings.Contains(text, sqliteSays) || strings.HasPrefix(text, "Arguments do not match SQL parameters") ||
		strings.HasPrefix(text, "SQL string could not be parsed") || isTooLarge(text)
}

func isTooLarge(text string) bool { return strings.HasPrefix(text, "Response is too large") }

const sqliteSays = "SQLite error: "

// sorted marks err as permanent where the database says that what it was given is at fault. All else may
// pass: a lock, a full disk, a token that will be mended, whatever is not understood.
func sorted(err error) error {
	var e *clientError
	if errors.As(err, &e) && isData(e.text) {
		return sinkers.Permanent(err)
	}
	return err
}

func isData(text string) bool {
	if strings.HasPrefix(text, "Arguments do not match SQL parameters: string or blob too big") {
		return true
	}
	i := strings.LastIndex(text, sqliteSays)
	if i < 0 {
		return false
	}
	said := text[i+len(sqliteSays):]
	for _, word := range [...]string{
		"NOT NULL constraint failed", "CHECK constraint failed", "UNIQUE constraint failed", "FOREIGN KEY constraint failed",
		"constraint failed", "cannot store ", "datatype mismatch", "string or blob too big", "malformed JSON",
	} {
		if strings.HasPrefix(said, word) {
			return true
		}
	}
	return false
}

// isTooLargeToRead says whether a query's result is more than the server sends at once (10 MB).
func isTooLargeToRead(err error) bool {
	var e *clientError
	return errors.As(err, &e) && isTooLarge(e.text)
}
