package sqlite

import (
	"errors"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/firetrail/firetrail/sinkers"
)

// Errors of a Sink, found with errors.Is.
var (
	// ErrLocked is the error of Open while another process, or another Sink of this one, is writing
	// to the database.
	ErrLocked = errors.New("another process is writing to it")
	// ErrReadOnly is the error of writing to a read-only Sink.
	ErrReadOnly = errors.New("opened for reading only")
	// ErrBeside is the error of Write on a Sink that was opened beside another.
	ErrBeside = errors.New("opened beside a worker, for maintenance only")
	// ErrClosed is the error of every method after Close.
	ErrClosed = errors.New("closed")
)

// sorted marks err as permanent where SQLite says that what it was given is at fault. All else may
// pass: a full disk, a lock, an I/O error, even a corrupt file, which a restored backup replaces.
func sorted(err error) error {
	if isData(err) {
		return sinkers.Permanent(err)
	}
	return err
}

func isData(err error) bool { return isDataCode(code(err)) }

func isDataCode(code int) bool {
	switch code & 0xff { // the low byte is the kind, the others say more
	case lib.SQLITE_CONSTRAINT, lib.SQLITE_MISMATCH, lib.SQLITE_TOOBIG:
		return true
	}
	return false
}

// isOutage reports whether waiting may mend what kept a database from being opened.
func isOutage(err error) bool {
	switch code(err) & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_PROTOCOL, lib.SQLITE_FULL, lib.SQLITE_IOERR:
		return true
	}
	return false
}

// code returns SQLite's extended result code, 0 when err is not from it.
func code(err error) int {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
