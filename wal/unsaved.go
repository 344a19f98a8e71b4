package wal

import "iter"

// Unsaved yields, in order, the records that are in memory alone and not released. After Close they are lost with
// the process. The log is locked meanwhile: the loop must not call it, and a Payload is valid for its turn only.
func (l *Log) Unsaved() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.queue.empty() {
			return
		}
		p, ok := l.queue.find(max(l.released, l.copied)+1, queuePos{})
		for ok {
			typ, payload := p.at()
			if !yield(Record{Seq: p.seq, Type: typ, Payload: payload}) || p.seq == l.queue.lastSeq() {
				return
			}
			p, ok = l.queue.find(p.seq+1, p)
		}
	}
}
