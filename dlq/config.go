package dlq

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Defaults of a DirConfig.
const (
	DefaultMaxBytes     = 1 << 30 // bytes
	DefaultMaxFiles     = 100_000
	DefaultScanInterval = time.Minute
	DefaultMaxScans     = 10
)

// DirConfig configures a Dir. The zero value of each field but Path is its default.
type DirConfig struct {
	// Path is the directory itself; it is made, 0700, if it isn't there. Required. Several processes may
	// share one on a local file system.
	Path string
	// MaxBytes bounds the size of all files together, in bytes. Processes that share the directory share it, but
	// may together be over it by what they put within about a second. Default 1 GiB; negative: unlimited.
	MaxBytes int64
	// MaxFiles bounds their number. Default 100,000; negative: unlimited.
	MaxFiles int
	// ScanInterval is the time from the end of one scan of Run to the beginning of the next. Default
	// 60 s; negative: Run scans once, when it starts.
	ScanInterval time.Duration
	// MaxScans is in how many scans a destination that was reached may refuse a letter before the letter
	// goes to a .dead file. Default 10; negative: never.
	MaxScans int
	// ReadOnly opens a directory to look at, which must be there: nothing in it is changed, and Put, Retry, Run
	// and Purge are refused with ErrReadOnly. Default false.
	ReadOnly bool
	// OnDiscard is called for each file of dead letters that was discarded over budget, with the file's
	// name and the number of letters in it. It must not block. Nil: they are counted and logged only.
	OnDiscard func(file string, letters int)
	// Logger; nil discards.
	Logger *slog.Logger

	fs          fileSystem    // nil: the operating system's
	relistAfter time.Duration // 0: the constant; negative: always
}

func (c DirConfig) withDefaults() DirConfig {
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = DefaultMaxFiles
	}
	if c.ScanInterval == 0 {
		c.ScanInterval = DefaultScanInterval
	}
	if c.MaxScans == 0 {
		c.MaxScans = DefaultMaxScans
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.relistAfter == 0 {
		c.relistAfter = relistAfter
	}
	if c.fs == nil {
		c.fs = diskFS{}
	}
	return c
}

func (c DirConfig) validate() error {
	var errs []error
	if c.Path == "" {
		errs = append(errs, errors.New("path: missing; name the directory that letters go to"))
	}
	if c.ScanInterval > 0 && c.ScanInterval < time.Millisecond {
		errs = append(errs, fmt.Errorf("scan interval: %s is below 1ms; leave it out for %s", c.ScanInterval, DefaultScanInterval))
	}
	return errors.Join(errs...)
}
