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
