package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds the memory that one line may take, in bytes.
const maxLine = 1 << 20

// lineReader reads the lines of an NDJSON input, counts them from 1, and leaves out empty ones.
type lineReader struct {
	r      *bufio.Reader
	number int
	line   []byte
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// errLineTooLong is a line over maxLine; what of it was read is its beginning.
var errLineTooLong = fmt.Errorf("longer than %d KiB", maxLine>>10)

// next returns the next line, which is good until the call after, or io.EOF. After errLineTooLong, with
// the line's beginning, the next line is read; any other error is the input's own, and lasts.
func (l *lineReader) next() ([]byte, error) {
	for {
		l.number++
		err := l.read()
		line := bytes.TrimSpace(bytes.TrimPrefix(l.line, []byte("\xef\xbb\xbf")))
		switch {
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil // the last line needs no line feed
		case err != nil:
			return line, err
		case len(line) > 0:
			return line, nil
		}
	}
}

func (l *lineReader) read() error {
	l.line = l.line[:0]
	tooLong := false
	for {
		part, err := l.r.ReadSlice('\n')
		if room := maxLine - len(l.line); len(part) > room {
			part, tooLong = part[:room], true
		}
		l.line = append(l.line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case tooLong && (err == nil || errors.Is(err, io.EOF)):
			return errLineTooLong
		default:
			return err
		}
	}
}
