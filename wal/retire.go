package wal

import (
	"errors"
	"io/fs"
	"time"
)

// release writes the mark where it moved and deletes the segments that are wholly below it.
func (d *disk) release(now time.Time) {
	l := d.l
	l.mu.Lock()
	released, synced, kept := l.released, l.durable, l.kept()
	n := 0
	for n+1 < len(l.segs) && l.segs[n+1].first <= released+1 {
		n++
	}
	done := append([]*segment(nil), l.segs[:n]...)
	l.mu.Unlock()
	moved := released > d.mark.released || synced > d.mark.synced || kept > d.mark.kept
	if (moved || d.markStale) && (n > 0 || passed(now, d.markAt, l.cfg.SyncEvery)) {
		d.markAt = now
		if err := d.mark.write(released, synced, kept); err != nil {
			d.count(err, &l.stats.MarkErrors, "the mark can't be written; records may be shipped twice")
			return
		}
	}
	// A mark that was lost, with the segments below it gone, would make their records look lost too.
	if n == 0 || !passed(now, d.removeAt, freeEvery) || d.mark.released < released {
		return
	}
	d.markStale = true // until the sync has returned for what was written
	if err := d.mark.f.Sync(); err != nil {
		d.count(err, &l.stats.MarkErrors, "the mark can't be synced; segments are kept")
		d.removeAt = now
		return
	}
	d.markStale = false
	for i, s := range done {
		if err := d.fs.Remove(s.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.count(err, &l.stats.RemoveErrors, "a segment can't be deleted; it is tried again")
			d.removeAt = now
			done = done[:i]
			break
		}
	}
	if len(done) > 0 {
		if err := d.fs.SyncDir(l.cfg.Dir); err != nil { // a power cut may bring them back, below the mark
			d.count(err, &l.stats.RemoveErrors, "deletions can't be synced")
		}
	}
	l.mu.Lock()
	for _, s := range done {
		l.bytes -= max(s.end, 0)
	}
	l.segs = l.segs[len(done):]
	l.mu.Unlock()
}

// kept is the last record that was in the ring or is in a segment.
func (l *Log) kept() uint64 { return max(l.ring.headSeq-1, l.copied, l.durable) }

func (d *disk) count(err error, counter *uint64, message string) {
	d.l.mu.Lock()
	*counter++
	first := *counter&(*counter-1) == 0 // the 1st, 2nd, 4th, 8th …: enough to see, too few to drown in
	n := *counter
	d.l.mu.Unlock()
	if first {
		d.l.cfg.Logger.Warn("wal: "+message, "dir", d.l.cfg.Dir, "error", err, "times", n)
	}
}

// checkFree looks, now and then, whether the file system still has its floor of free bytes.
func (d *disk) checkFree(now time.Time) {
	l := d.l
	if l.cfg.MinFree < 0 || !passed(now, d.freeAt, freeEvery) {
		return
	}
	d.freeAt = now
	free, err := d.fs.Free(l.cfg.Dir)
	if err != nil {
		return // a disk that fails shows where it is written to
	}
	l.mu.Lock()
	was := l.full
	l.full = free < uint64(l.cfg.MinFree)
	is := l.full
	l.mu.Unlock()
	if is && !was {
		l.cfg.Logger.Error("wal: the file system is nearly full: no more is taken", "dir", l.cfg.Dir, "free", free, "floor", l.cfg.MinFree)
	}
}
