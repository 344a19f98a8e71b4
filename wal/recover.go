package wal

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// recoverTail finds the end of the log in the last segment and in the ring, and copies to a new segment what
// only the ring is known to have. It returns what is missing, for whoever is to be told.
func (l *Log) recoverTail() ([]Loss, error) {
	m := &l.disk.mark
	var t tail
	var last *segment
	if n := len(l.segs); n > 0 {
		last = l.segs[n-1]
		var err error
		if t, err = l.scanTail(last); err != nil {
			return nil, err
		}
		if l.cfg.Strict && t.damaged {
			return nil, fmt.Errorf("wal: %s is damaged", last.name)
		}
	}
	ring, err := loadRing(l.cfg.FS, l.cfg.Dir, m.id)
	if err != nil {
		return nil, err
	}
	l.released = max(l.released, ring.released)
	frames, err := l.onlyInRing(ring.frames, last, t)
	if err != nil {
		return nil, err
	}
	onDisk := m.synced // what is at or below it was on the disk, or released
	if ring.tailSeq > 0 {
		onDisk = max(onDisk, ring.tailSeq-1)
	}
	end := max(l.released, t.last, onDisk, m.kept)
	if n := len(frames); n > 0 {
		end = max(end, frames[n-1].seq)
	}
	losses := l.missing(frames, max(l.released, t.last), onDisk, end)
	// Bad bytes in it that segments make good are what a power cut leaves.
	inRing := func(loss Loss) bool { return loss.Name != "" }
	if ring.damage != "" && (ring.tailSeq == 0 || slices.ContainsFunc(losses, inRing)) {
		if err := l.ringIsDamaged(ring); err != nil {
			return nil, err
		}
	}
	if i := slices.IndexFunc(losses, func(loss Loss) bool { return loss.From <= onDisk || inRing(loss) }); i >= 0 && l.cfg.Strict {
		return nil, fmt.Errorf("wal: %s is damaged: records %d to %d: %s", l.cfg.Dir, losses[i].From, losses[i].To, losses[i].Reason)
	}
	if l.released > t.last { // in no segment: the mark tells it from what is lost, once that is on the disk, too
		if err := errors.Join(m.write(l.released, m.synced, m.kept), m.f.Sync()); err != nil {
			return nil, fmt.Errorf("wal: writing the mark: %w", err)
		}
	}
	if err := l.copyRing(frames); err != nil {
		return nil, fmt.Errorf("wal: copying the ring: %w", err)
	}
	l.next, l.copied, l.durable = end+1, end, end
	l.stats.Recovered = end - l.released
	for _, loss := range losses {
		l.stats.Recovered -= loss.Records()
	}
	return losses, nil
}

// onlyInRing returns the records of the ring that may be nowhere else for certain: those above the mark, and not
// below the last segment, since what lies before that was synced when it was full. All of them: those that the
// segment has too may not be on the disk, whatever a sync says now. The new segment that they go to stands for the
// old one from its first record on; so where bytes of the ring are bad, or it is of an earlier time, as a power cut may
// leave it, the old one's records are put in between.
func (l *Log) onlyInRing(frames []frame, last *segment, t tail) ([]frame, error) {
	frames = slices.DeleteFunc(frames, func(f frame) bool { return f.seq <= l.released || last != nil && f.seq < last.first })
	n := len(frames)
	if n == 0 || last == nil {
		return frames, nil
	}
	if first, end := frames[0].seq, frames[n-1].seq; end-first+1 == uint64(n) && end >= t.last {
		return frames, nil
	}
	b, err := readFile(l.cfg.FS, last.name)
	if err != nil {
		return nil, err
	}
	first := frames[0].seq
	scanFrames(b[min(dataStart, len(b)):], last, func(f frame) {
		if f.seq > first {
			frames = append(frames, f)
		}
	})
	slices.SortStableFunc(frames, func(a, b frame) int { return cmp.Compare(a.seq, b.seq) })
	return slices.CompactFunc(frames, func(a, b frame) bool { return a.seq == b.seq }), nil
}

// missing returns what is missing of the records up to end, where found is the last that the mark and the last
// segment account for, and onDisk the last that was once on the disk. What a reader will find missing in the
// segments is not in it.
func (l *Log) missing(frames []frame, found, onDisk, end uint64) (losses []Loss) {
	next := found + 1
	lose := func(to uint64, name, reason string) {
		if next <= to {
			losses = append(losses, Loss{From: next, To: to, Name: name, Reason: reason})
			next = to + 1
		}
	}
	wereOnDisk := func(to uint64) { lose(min(to, onDisk), "", "the mark says they were on the disk") }
	if len(frames) > 0 {
		next = min(next, frames[0].seq)
	}
	for _, f := range frames {
		wereOnDisk(f.seq - 1)
		lose(f.seq-1, filepath.Join(l.cfg.Dir, ringName), "damaged in the ring")
		next = max(next, f.seq+1)
	}
	wereOnDisk(end)
	lose(end, "", "they were not on the disk yet")
	return losses
}

// ringIsDamaged copies the ring aside before it is made empty.
func (l *Log) ringIsDamaged(ring ringScan) error {
	name := filepath.Join(l.cfg.Dir, ringName)
	if l.cfg.Strict {
		return fmt.Errorf("wal: %s is damaged: %s", name, ring.damage)
	}
	aside, err := setAside(l.cfg.FS, l.cfg.Dir, name, asideName(ring.gen))
	if err != nil {
		return fmt.Errorf("wal: setting aside %s: %w", name, err)
	}
	l.stats.Damaged++
	l.cfg.Logger.Error("wal: the ring is damaged; it is read around the damage", "file", name, "damage", ring.damage, "copy", aside)
	return nil
}

// asideName is the name of a damaged ring's copy: each open's and each remade ring has a generation of its own.
func asideName(gen uint64) string { return fmt.Sprintf("%s-%016x", ringName, gen) }

// copyRing writes records to a new segment, and syncs it.
func (l *Log) copyRing(frames []frame) error {
	w := &l.disk.w
	for _, f := range frames {
		if err := w.add(f.seq, f.typ, f.payload); err != nil {
			return err
		}
	}
	return errors.Join(w.flush(), w.sync())
}

// tail is what a scan of the last segment found.
type tail struct {
	last    uint64
	damaged bool // more than a torn end
	holes   int  // bad places with a frame behind them
}

func (l *Log) scanTail(s *segment) (tail, error) {
	b, err := readFile(l.cfg.FS, s.name)
	if err != nil {
		return tail{}, err
	}
	if err := syncFile(l.cfg.FS, s.name); err != nil { // it may have been written to without a sync
		return tail{}, err
	}
	t, end := scanFrames(b[min(dataStart, len(b)):], s, nil)
	l.bytes += end - s.end
	s.end = end
	return t, nil
}

// scanFrames goes through the frames of a segment, whose bytes behind the header are b, around bad places,
// gives each to visit, and returns where the last of them ends in the file.
func scanFrames(b []byte, s *segment, visit func(frame)) (t tail, end int64) {
	t.last = s.first - 1
	broken, bad := false, 0
	end = dataStart
	for at := 0; ; {
		f, ok := readFrame(b[at:], s.salt, largest)
		if !ok {
			if !broken {
				broken, bad = true, at
			}
			if at, ok = resync(b, at, s.salt, largest, s.plausible(0)); !ok {
				return t, end
			}
			t.holes++
			continue
		}
		if broken && f.synced > int64(bad)+dataStart {
			t.damaged = true
		}
		t.last = max(t.last, f.seq)
		if visit != nil {
			visit(f)
		}
		at += f.size()
		end = int64(at) + dataStart
	}
}

// plausible is what resync asks of a frame of the segment, in bytes that begin at the place from behind its header.
func (s *segment) plausible(from int64) plausible {
	return plausible{s.first < smallSeq/2, func(at int, seq, synced uint64) bool {
		return seq >= s.first && seq-s.first < smallSeq/2 && synced <= uint64(dataStart+from)+uint64(at)
	}}
}
