package consumer

import (
	"cmp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// source names a partition of a topic.
type source struct {
	topic     string
	partition int32
}

// partition is one assignment of a partition to this worker: from the rebalance that gave it to the one that
// takes it away. The same partition given again later is another one, so that whatever is still
// under way for the first can't move the mark of the second. It is guarded by its flow's mutex.
//
// Records are done in any order: some wait for a batch, some as letters. What may be committed is the
// low-water mark, below which all are done. The window holds the records from there on:
//
//	offset   17   18   20   21   24      (19, 22 and 23 aren't records: compaction, transactions)
//	done      x    x         x
//	                    ▲ mark is 19, behind the record before the first that isn't done: not 21
//
// Those that are done leave it, the first ones and those in between, so that one that waits for hours, as for
// a tenant's database that is away, doesn't fill the memory with all that came behind it.
type partition struct {
	source
	topicID [16]byte

	window []slot // window[head:] is not yet below the mark; in order, and without some of those that are done
	head   int
	passed int    // how many of the window are done
	added  uint64 // records; the number of the next one
	last   end    // of those

	mark      int64 // the next offset to commit; -1: nothing is done yet
	epoch     int32 // leader epoch of the record below mark
	committed int64 // what is committed by this worker; -1: nothing
	high      int64 // the end of what can be read; -1: not known yet
	start     int64 // the first offset that Kafka still has; 0 while that is not known
	read      int64 // the offset after the last that was read, or lost; -1: nothing was
	from      int64 // where reading begins: what the group had committed, or the start; -1: not known yet
	asked     bool  // the group was asked what it has committed
	ahead     seen  // the record that is to be read next, when it was last looked for
	behind    seen  // where reading stood, and since when it was seen to stand there below the start
	lost      int64 // offsets that Kafka deleted before they were read

	bytes   int64 // of what is in flight
	held    int   // records in somebody's hands: a write or a send is under way
	waiting int   // letters that could not be sent yet

	over     bool // takes more than its share of memory
	revoking bool // being given back: nothing new is begun
	gone     bool // no longer ours to commit
	dropped  bool // no longer ours at all: what is in flight is forgotten
}

// slot is a record in the window.
type slot struct {
	number uint64
	offset int64
	ms     int64 // the record's timestamp
	before end   // of the record before it
	done   bool
}

// end is where a record ends.
type end struct {
	offset int64 // the one after the record's
	epoch  int32 // leader epoch of the record
}

// seen is a record that was looked at without reading it.
type seen struct {
	offset int64
	time   time.Time
}

func newPartition(s source) *partition {
	return &partition{source: s, mark: -1, committed: -1, high: -1, read: -1, from: -1, ahead: seen{offset: -1}, behind: seen{offset: -1}}
}

// add takes a record into the window and returns its number.
func (p *partition) add(offset int64, epoch int32, at time.Time) uint64 {
	n := p.added
	p.window = append(p.window, slot{number: n, offset: offset, ms: at.UnixMilli(), before: p.last})
	p.last = end{offset + 1, epoch}
	p.read = offset + 1
	p.added++
	return n
}

// pass takes in an offset at which there is nothing to store: a control record, or the last of what is lost.
func (p *partition) pass(offset int64, epoch int32, at time.Time) {
	p.done(p.add(offset, epoch, at))
}

// next is the offset that is to be read next; -1 while that is not known.
func (p *partition) next() int64 {
	if p.read >= 0 {
		return p.read
	}
	return p.from
}

// begins says that Kafka has no records below start any more, and returns how many offsets of those were still to be
// read. They are passed then, so that the mark moves on once what was read before them is done.
func (p *partition) begins(start int64, now time.Time) (lost int64) {
	p.start = max(p.start, start)
	next := p.next()
	if next < 0 {
		p.from = start
		return 0
	}
	if lost = start - next; lost <= 0 {
		return 0
	}
	p.lost += lost
	p.pass(start-1, -1, now)
	return lost
}

// done says that record number n is stored or a letter.
func (p *partition) done(n uint64) {
	p.window[p.index(n)].done = true
	p.passed++
	from := p.head
	for p.head < len(p.window) && p.window[p.head].done {
		p.head++
	}
	switch {
	case p.head == len(p.window):
		p.mark, p.epoch = p.last.offset, p.last.epoch
	case p.head > from:
		first := &p.window[p.head]
		p.mark, p.epoch = first.before.offset, first.before.epoch
	}
	if p.head == len(p.window) || p.passed >= 4096 && p.passed*2 >= len(p.window) {
		p.compact()
	}
}

// compact takes out of the window what is done.
func (p *partition) compact() {
	p.window = slices.DeleteFunc(p.window, func(s slot) bool { return s.done })
	p.head, p.passed = 0, 0
}

// index is where in the window record number n is, which isn't done: where none of those behind it has left, that far from its end.
func (p *partition) index(n uint64) int {
	if i := len(p.window) - int(p.added-n); i >= 0 && p.window[i].number == n {
		return i
	}
	i, _ := slices.BinarySearchFunc(p.window, n, func(s slot, n uint64) int { return cmp.Compare(s.number, n) })
	return i
}

// dirty reports whether there is something to commit.
func (p *partition) dirty() bool { return !p.gone && p.mark >= 0 && p.mark != p.committed }

// at is the first offset that isn't done; -1 while that is not known.
func (p *partition) at() int64 {
	switch {
	case p.mark >= 0:
		return p.mark
	case p.head < len(p.window):
		return p.window[p.head].offset
	default:
		return p.from // nothing was read yet: the partition is idle, or new to us
	}
}

// unread is the first offset that isn't done and still there.
func (p *partition) unread() int64 { return max(p.at(), p.start) }

// lag is how many records lie between what is done and the high watermark; false while the latter, or where
// the worker stands, is not known.
func (p *partition) lag() (int64, bool) {
	if p.at() < 0 || p.high < 0 {
		return 0, false
	}
	return max(p.high-p.unread(), 0), true
}

// oldest is the timestamp of the first record that isn't done; zero where there is none, or it isn't known.
func (p *partition) oldest() time.Time {
	switch lag, ok := p.lag(); {
	case p.head < len(p.window):
		return time.UnixMilli(p.window[p.head].ms)
	case ok && lag > 0 && p.ahead.offset == p.unread():
		return p.ahead.time
	default:
		return time.Time{}
	}
}

// mark is a low-water mark that is to be committed.
type mark struct {
	part   *partition
	offset int64
	epoch  int32
}

// offsets returns marks in the form that a commit takes.
func offsets(marks []mark) map[string]map[int32]kgo.EpochOffset {
	o := map[string]map[int32]kgo.EpochOffset{}
	for _, m := range marks {
		if o[m.part.topic] == nil {
			o[m.part.topic] = map[int32]kgo.EpochOffset{}
		}
		o[m.part.topic][m.part.partition] = kgo.EpochOffset{Epoch: m.epoch, Offset: m.offset}
	}
	return o
}
