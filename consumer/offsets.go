package consumer

import (
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
// low-water mark, below which all are done. The window holds every record from there on:
//
//	offset   17   18   20   21   24      (19, 22 and 23 aren't records: compaction, transactions)
//	done      x    x         x
//	                    ▲ mark is 20: 18+1 would do as well, but not 21
type partition struct {
	source
	topicID [16]byte

	window []slot // window[head:] is not yet below the mark
	head   int
	base   uint64 // the number of window[0]

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

type slot struct {
	offset int64
	ms     int64 // the record's timestamp
	epoch  int32
	done   bool
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
	p.window = append(p.window, slot{offset: offset, ms: at.UnixMilli(), epoch: epoch})
	p.read = offset + 1
	return p.base + uint64(len(p.window)-1)
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
	p.window[n-p.base].done = true
	for p.head < len(p.window) && p.window[p.head].done {
		p.mark, p.epoch = p.window[p.head].offset+1, p.window[p.head].epoch
		p.head++
	}
	if p.head == len(p.window) || p.head >= 4096 && p.head*2 >= len(p.window) {
		n := copy(p.window, p.window[p.head:])
		p.window = p.window[:n]
		p.base += uint64(p.head)
		p.head = 0
	}
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
