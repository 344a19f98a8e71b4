package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// SyncPolicy says when the segments are synced to the disk. None of them makes Append wait, and a kill
// -9 loses nothing under any: they differ in what a power cut can take.
type SyncPolicy uint8

// The policies.
const (
	SyncInterval SyncPolicy = iota // every Config.SyncEvery, and when Sync asks
	SyncCommit                     // after each copy from the ring: about every millisecond
	SyncNone                       // when the kernel likes, and when Sync asks
)

// Config configures a log. The zero value of every field but Dir is its default.
type Config struct {
	// Dir is the log's own directory, made if it isn't there. One process at a time may have it open.
	// Required by Open; OpenMemory ignores it.
	Dir string
	// RingSize is the size of the staging ring in bytes: a power of two from 64 KiB to 1 GiB. It must
	// hold the rate of bytes times (SyncEvery + the slowest sync). Default 16 MiB.
	RingSize int
	// SegmentSize is the size of a segment file in bytes, at least four times MaxRecord. Default 16 MiB.
	SegmentSize int64
	// MaxRecord is the largest record in bytes, at most a quarter of RingSize. Default 256 KiB.
	MaxRecord int
	// MaxBytes bounds what the log holds, in bytes: files, ring and memory together. Append returns
	// ErrFull above it. At least four times SegmentSize for a log on disk. Default 1 GiB for a log on disk,
	// 64 MiB for one in memory; negative is unlimited.
	MaxBytes int64
	// MaxOverflow bounds the memory queue of a log on disk, in bytes, for what comes while the ring is
	// full or the disk refuses. Default 32 MiB; negative is none.
	MaxOverflow int64
	// MinFree is how many bytes of the file system are left alone: below it Append returns ErrFull.
	// Default 64 MiB; negative is no floor.
	MinFree int64
	// Sync says when the segments are synced. Default SyncInterval.
	Sync SyncPolicy
	// SyncEvery is the commit interval of SyncInterval. Default 100 ms.
	SyncEvery time.Duration
	// Strict makes Open refuse a damaged log instead of reading around the damage.
	Strict bool
	// RetryMin and RetryMax bound the backoff, doubling, of a degraded log's tries to write again.
	// Default 100 ms and 5 s.
	RetryMin, RetryMax time.Duration
	// HangAfter is how long one call to the disk may last before the log says that the disk hangs.
	// Default 5 s; negative is for ever.
	HangAfter time.Duration
	// OnState is called after each change of state, on one of the log's goroutines: it must not block, nor
	// call the log.
	OnState func(StateChange)
	// OnLoss is called for each range of records found missing or unreadable, on the goroutine that
	// found it: Open's caller's, a reader's, or the log's. It must not block, nor call the log.
	OnLoss func(Loss)
	// Logger takes what an operator should see. Default: none.
	Logger *slog.Logger
	// FS is the file system. Default: the operating system's.
	FS FS
	// Clock tells the time. It may jump. Default time.Now.
	Clock func() time.Time
}

func (c Config) withDefaults(disk bool) Config {
	def(&c.RingSize, 16<<20)
	def(&c.SegmentSize, 16<<20)
	def(&c.MaxRecord, 256<<10)
	if disk {
		def(&c.MaxBytes, 1<<30)
	} else {
		def(&c.MaxBytes, 64<<20)
	}
	def(&c.MaxOverflow, 32<<20)
	def(&c.MinFree, 64<<20)
	def(&c.SyncEvery, 100*time.Millisecond)
	def(&c.RetryMin, 100*time.Millisecond)
	def(&c.RetryMax, 5*time.Second)
	def(&c.HangAfter, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.FS == nil {
		c.FS = OSFS()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

func def[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

func (c *Config) validate(disk bool) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("wal: "+format, args...)) }
	if c.MaxRecord < 0 {
		bad("MaxRecord: %d is negative", c.MaxRecord)
	}
	if !disk {
		return errors.Join(errs...)
	}
	if c.Dir == "" {
		bad("Dir: missing; name a directory on a local disk")
	}
	if c.RingSize < 64<<10 || c.RingSize > 1<<30 || c.RingSize&(c.RingSize-1) != 0 {
		bad("RingSize: %d is not a power of two from 64 KiB to 1 GiB", c.RingSize)
	} else if c.MaxRecord > c.RingSize/4 {
		bad("MaxRecord: %d is more than a quarter of RingSize, %d", c.MaxRecord, c.RingSize)
	}
	if c.SegmentSize < 4*int64(c.MaxRecord) || c.SegmentSize > 1<<30 {
		bad("SegmentSize: %d is outside four times MaxRecord (%d) to 1 GiB", c.SegmentSize, c.MaxRecord)
	}
	if c.MaxBytes >= 0 && c.MaxBytes < 4*c.SegmentSize {
		bad("MaxBytes: %d is less than four segments of %d", c.MaxBytes, c.SegmentSize)
	}
	if c.Sync > SyncNone {
		bad("Sync: %d is none of SyncInterval, SyncCommit, SyncNone", c.Sync)
	}
	if c.SyncEvery < 0 || c.RetryMin < 0 || c.RetryMax < c.RetryMin {
		bad("SyncEvery, RetryMin, RetryMax: %v, %v, %v; none may be negative, nor RetryMin over RetryMax", c.SyncEvery, c.RetryMin, c.RetryMax)
	}
	return errors.Join(errs...)
}

// Check reports what is wrong with a log's config, without touching the disk.
func Check(cfg Config) error {
	cfg = cfg.withDefaults(true)
	return cfg.validate(true)
}
