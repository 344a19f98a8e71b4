package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/jedib0t/go-pretty/v6/progress"
)

// screen is stderr: while bars are shown, what is written goes above them.
type screen struct {
	out io.Writer

	mu   sync.Mutex
	bars progress.Writer
}

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bars == nil {
		return s.out.Write(p)
	}
	s.bars.Log("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// note tells the person something that is no error.
func (s *screen) note(format string, args ...any) { _, _ = fmt.Fprintf(s, format+"\n", args...) }

// show puts bars on the screen; nil takes them off.
func (s *screen) show(bars progress.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bars = bars
}

// Fd is what tells a terminal; no file has this one.
func (s *screen) Fd() uintptr {
	if f, ok := s.out.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}
