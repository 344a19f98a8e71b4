package sinkers

import (
	"errors"
	"fmt"
)

// RowError says what is wrong with one row of a batch.
type RowError struct {
	Index int // in the batch as it was given
	Err   error
}

// BatchError is the error of a Write in which certain rows are at fault: trying them again is of no use,
// and without them the rest of the batch may be stored.
type BatchError struct {
	Rows []RowError // at least one, by ascending index
}

// Error implements error.
func (e *BatchError) Error() string {
	if len(e.Rows) == 1 {
		return fmt.Sprintf("row %d: %v", e.Rows[0].Index, e.Rows[0].Err)
	}
	return fmt.Sprintf("%d rows refused; the first is row %d: %v", len(e.Rows), e.Rows[0].Index, e.Rows[0].Err)
}

// Unwrap returns the rows' errors.
func (e *BatchError) Unwrap() []error {
	errs := make([]error, len(e.Rows))
	for i, r := range e.Rows {
		errs[i] = r.Err
	}
	return errs
}

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks err as a data error: the database took the request and refuses what is in it, and
// trying again is of no use. Nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent reports whether err is a *BatchError or was marked by Permanent. Whatever else is taken for
// transient, since taking an outage for poison loses events and taking poison for an outage only time.
func IsPermanent(err error) bool {
	var b *BatchError
	return errors.As(err, &b) || errors.As(err, new(permanentError))
}

type suspectError struct {
	error
	index int
}

func (e suspectError) Unwrap() error { return e.error }

// Suspect marks err, of a Write that stored nothing, with a guess at a row that is at fault: its index in Batch.Rows
// as it was given, from 0. It is for a database that refuses the whole batch and whose message says where; what is known for
// certain goes into a *BatchError. The guess is checked and is never a verdict: the worker writes that row by itself, and the
// others without it, where it would have halved the batch. So a right one saves most of the search, and a wrong one costs
// a write, that of a good row, for which the sink is believed less; one that is no index of the batch is ignored. Nothing else
// depends on it: whether err is Permanent, and what it takes until the row is a dead letter, stay as they are.
// Of several marks the outermost counts. Nil stays nil. It may be called concurrently.
func Suspect(index int, err error) error {
	if err == nil {
		return nil
	}
	return suspectError{err, index}
}

// Suspected returns the index of the row that err was marked with by Suspect; false if it wasn't.
func Suspected(err error) (index int, ok bool) {
	var s suspectError
	ok = errors.As(err, &s)
	return s.index, ok
}

// SchemaError is the error of opening a database whose schema isn't the one this program knows.
type SchemaError struct {
	Have int // the database's version
	Know int // the newest that this program knows
}

// Error implements error.
func (e *SchemaError) Error() string {
	if e.Have > e.Know {
		return fmt.Sprintf("has schema version %d, and this program knows up to %d; use a newer firetrail", e.Have, e.Know)
	}
	return fmt.Sprintf("has schema version %d, and this program reads %d; let a worker of this version migrate it first", e.Have, e.Know)
}

type unavailableError struct{ error }

func (e unavailableError) Unwrap() error { return e.error }

// Unavailable marks err, of opening a database, as one that waiting may mend: the server can't be reached, starts, or
// has no room for another connection. Nil stays nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return unavailableError{err}
}

// IsUnavailable reports whether err was marked by Unavailable. Whatever else is taken for a mistake in the settings, such as
// a wrong password, which whoever starts a worker should be told of at once.
func IsUnavailable(err error) bool { return errors.As(err, new(unavailableError)) }
