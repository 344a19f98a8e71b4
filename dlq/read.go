package dlq

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
)

// ErrVersion says that a file is of a newer version than this program reads. Such a file is left alone.
var ErrVersion = errors.New("dlq: the file is of a newer version than this program reads; upgrade the program")

// DamageError reports damage to a file of letters: a line that isn't what was written, or lines that are
// missing. The letters around it are all read.
type DamageError struct {
	Path string
	// Line where it is, from 1, and Offset where that line begins, in bytes.
	Line   int
	Offset int64
	// Lost is how many letters are known to be missing, as the file's header counts them; 0 for damage
	// to a line, since the end of the file settles the account.
	Lost int
	Err  error
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s:%d: damaged at byte %d: %v", e.Path, e.Line, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// fileReader reads a file of letters, line by line, in memory bounded by its longest line.
type fileReader struct {
	path   string
	in     *bufio.Reader
	max    int // longest line
	line   []byte
	number int   // of the line last read
	at     int64 // where that line begins
	next   int64

	header  fileHeader
	hasHead bool
	letters int // good ones so far
	bad     int // lines that are none
	torn    bool
	ended   bool
}

func newFileReader(path string, r io.Reader, buffer int) *fileReader {
	return &fileReader{path: path, in: bufio.NewReaderSize(r, buffer), max: maxLine}
}

// read returns the next letter, and its line without the newline, which is good until the next call. A
// *DamageError is no end: reading goes on behind it. io.EOF is the end.
func (r *fileReader) read() (entry, []byte, error) {
	for {
		line, err := r.readLine()
		if errors.Is(err, io.EOF) {
			return entry{}, nil, r.atEnd()
		}
		if err != nil {
			return entry{}, nil, err
		}
		header, err := checkLine(line)
		if err != nil {
			r.bad++
			return entry{}, nil, r.damage(err)
		}
		if header {
			if err := r.readHeader(line); err != nil {
				return entry{}, nil, err
			}
			continue
		}
		e, err := parseLetter(line)
		if err != nil {
			r.bad++
			return entry{}, nil, r.damage(err)
		}
		r.letters++
		return e, line, nil
	}
}

func (r *fileReader) readHeader(line []byte) error {
	h, err := parseHeader(line)
	if err != nil {
		r.bad++
		return r.damage(err)
	}
	if h.Version > formatVersion {
		return fmt.Errorf("%s: version %d: %w", r.path, h.Version, ErrVersion)
	}
	if r.hasHead || r.number != 1 {
		r.bad++
		return r.damage(errors.New("a header that isn't the first line"))
	}
	r.header, r.hasHead = h, true
	return nil
}

// atEnd returns io.EOF, or once before it what is missing from the file as a whole.
func (r *fileReader) atEnd() error {
	if r.ended {
		return io.EOF
	}
	r.ended = true
	d := r.damage(io.ErrUnexpectedEOF)
	switch {
	case !r.hasHead:
		d.Lost = r.bad
		d.Err = errors.New("there is no header to say how many letters it had")
	case r.letters < r.header.Letters:
		d.Lost = r.header.Letters - r.letters
		d.Err = fmt.Errorf("its header counts %d letters, and %d are there", r.header.Letters, r.letters)
	case r.letters > r.header.Letters:
		d.Err = fmt.Errorf("its header counts %d letters, but %d are there", r.header.Letters, r.letters)
	case r.torn:
		d.Err = errors.New("its last line has no end")
	default:
		return io.EOF
	}
	return d
}

func (r *fileReader) damage(err error) *DamageError {
	return &DamageError{Path: r.path, Line: r.number, Offset: r.at, Err: err}
}

// readLine returns the next line without its newline. A line over the limit is passed over without being
// held in memory, and comes back cut, so that its CRC fails.
func (r *fileReader) readLine() ([]byte, error) {
	r.line = r.line[:0]
	r.at = r.next
	for {
		part, err := r.in.ReadSlice('\n')
		r.next += int64(len(part))
		if room := r.max - len(r.line); room > 0 {
			r.line = append(r.line, part[:min(len(part), room)]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == io.EOF && r.next > r.at {
			r.torn = true // what is there of the line may still be all of it
			err = nil
		}
		if err != nil {
			return nil, err
		}
		r.number++
		if n := len(r.line); n > 0 && r.line[n-1] == '\n' {
			r.line = r.line[:n-1]
		}
		return r.line, nil
	}
}

// ReadFile yields the letters of a file, in order. path is the file's, or only its name. Damage is yielded
// as a *DamageError, as often as there is some, and reading goes on behind it; any other error ends it. At
// the most one line is held in memory at a time. It takes no lock: a file that the retry engine is at work
// on may be yielded as it was, or not be there.
func (d *Dir) ReadFile(ctx context.Context, path string) iter.Seq2[Letter, error] {
	if filepath.Base(path) == path {
		path = filepath.Join(d.cfg.Path, path)
	}
	return func(yield func(Letter, error) bool) {
		err := d.eachEntry(ctx, path, func(e entry, _ []byte) error {
			if !yield(e.Letter, nil) {
				return errStop
			}
			return nil
		}, func(damage *DamageError) error {
			if !yield(Letter{}, damage) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Letter{}, err)
		}
	}
}

var errStop = errors.New("stop")

// eachEntry calls good for every letter of a file and bad for all damage, until one of them returns an
// error.
func (d *Dir) eachEntry(ctx context.Context, path string, good func(entry, []byte) error, bad func(*DamageError) error) error {
	f, err := d.fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := newFileReader(path, f, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, line, err := r.read()
		var damage *DamageError
		switch {
		case errors.As(err, &damage):
			err = bad(damage)
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			err = good(e, line)
		default:
			err = fmt.Errorf("reading letters: %w", err)
		}
		if err != nil {
			return err
		}
	}
}

// readHeader returns the header of a file, and a zero one if it has none that can be read.
func (d *Dir) readHeader(path string) (fileHeader, error) {
	f, err := d.fs.Open(path)
	if err != nil {
		return fileHeader{}, err
	}
	defer f.Close()
	r := newFileReader(path, f, 1<<10)
	r.max = 1 << 20
	line, err := r.readLine()
	if err != nil {
		return fileHeader{}, nil
	}
	if header, err := checkLine(line); err != nil || !header {
		return fileHeader{}, nil
	}
	h, _ := parseHeader(line)
	return h, nil
}
