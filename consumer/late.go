package consumer

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/dlq"
)

// Limits of the letters that are kept in memory until the directory takes them, and of the ids of those that the topic
// has taken since they went to the directory.
const (
	maxLate      = 10_000
	maxLateBytes = 16 << 20
	maxAcked     = 10_000
)

// lateLetters are in the topic, their records are done, and the directory didn't take them.
type lateLetters struct {
	letters []*letter
	bytes   int64
}

func (q *lateLetters) empty() bool { return len(q.letters) == 0 }

// add takes a letter, and returns how many of the oldest had to go for it.
func (q *lateLetters) add(l *letter) (gone int) {
	own := l.own()
	size := recordBytes(own.item.rec)
	for len(q.letters) > 0 && (len(q.letters) >= maxLate || q.bytes+size > maxLateBytes) {
		q.drop(1)
		gone++
	}
	q.letters = append(q.letters, own)
	q.bytes += size
	return gone
}

// drop takes out the first n.
func (q *lateLetters) drop(n int) {
	for i, l := range q.letters[:n] {
		q.bytes -= recordBytes(l.item.rec)
		q.letters[i] = nil
	}
	q.letters = q.letters[n:]
}

// own returns the letter with bytes of its own: those of a fetch are kept as a whole by each of its records.
func (l *letter) own() *letter {
	c := *l
	rec := *l.item.rec
	rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
	rec.Headers = slices.Clone(rec.Headers)
	for i := range rec.Headers {
		rec.Headers[i] = kgo.RecordHeader{Key: rec.Headers[i].Key, Value: bytes.Clone(rec.Headers[i].Value)}
	}
	c.item.rec = &rec
	return &c
}

// keepLate keeps a letter, whose record is done, until the directory takes it.
func (p *postman) keepLate(l *letter) {
	gone := p.late.add(l)
	p.stats.count(func(s *Stats) { s.LateLetters, s.HalfLetters = len(p.late.letters), s.HalfLetters+int64(gone) })
	if gone > 0 {
		p.log.Error("letters stay in their topic alone: too many wait for the directory", "letters", gone,
			"limit", maxLate, "limit_bytes", maxLateBytes)
	}
}

// catchUp writes to the directory some of the letters that it didn't take, and copies to the topic some of what
// only the directory has. It reports whether something came of it, and so may come of more.
func (p *postman) catchUp(ctx context.Context, closed bool) (moved bool) {
	before := len(p.late.letters)
	if n := min(before, maxLetters); n > 0 {
		some := slices.Clone(p.late.letters[:n])
		p.sendForms(ctx, some)
		p.late.drop(n)
		for _, l := range some {
			if p.missing(l) {
				p.late.add(l)
			}
		}
		moved = len(p.late.letters) < before
		p.stats.count(func(s *Stats) { s.LateLetters = len(p.late.letters) })
	}
	if !closed && p.copies() && p.letterDir().Uncopied() {
		n, err := p.letterDir().CopyDead(ctx, p.copyDead)
		p.failed("topic", err, func(s *Stats) { s.TopicErrors++ })
		moved = moved || n > 0 && err == nil
	}
	return moved
}

func (p *postman) letterDir() letterDir {
	if f, ok := p.dir.(dirForm); ok {
		return f.dir
	}
	return nil
}

// copies reports whether letters of the directory are copied to the topic.
func (p *postman) copies() bool {
	_, ok := p.topic.(topicForm)
	return ok && p.letterDir() != nil
}

// remember notes that the topic has a letter of which the directory doesn't say so.
func (p *postman) remember(l *letter) {
	if !l.inTopic || !l.inDir || l.noted {
		return
	}
	if len(p.acked) >= maxAcked {
		clear(p.acked) // they will be copied once more, under the same ids
	}
	if p.acked == nil {
		p.acked = map[string]dlq.Copy{}
	}
	p.acked[l.dead().ID] = l.copied()
}

// copyDead copies letters of the directory to the topic. What the topic took after the directory isn't sent again, nor
// what is about to be sent.
func (p *postman) copyDead(ctx context.Context, letters []dlq.Letter) ([]dlq.Copy, error) {
	copies := make([]dlq.Copy, len(letters))
	pending := p.pending()
	var send []dlq.Letter
	var of []int
	for i := range letters {
		if c, ok := p.acked[letters[i].ID]; ok {
			copies[i] = c
			delete(p.acked, letters[i].ID)
		} else if !pending[letters[i].ID] {
			send, of = append(send, letters[i]), append(of, i)
		}
	}
	if len(send) == 0 {
		return copies, nil
	}
	ctx, cancel := context.WithTimeout(ctx, letterLimit)
	defer cancel()
	got, err := p.topic.(topicForm).putAll(ctx, send)
	for j, i := range of {
		copies[i] = got[j]
	}
	return copies, err
}

// pending are the ids of the letters that wait to be sent.
func (p *postman) pending() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make(map[string]bool, len(p.queue))
	for _, l := range p.queue {
		ids[l.dead().ID] = true
	}
	return ids
}

// known is what the directory had of letters before this worker made them: of records that were read again, since a
// worker ended before it had committed them.
type known struct {
	of map[*partition]map[string]dlq.Copy
}

// recall notes what is known of letters. A partition's are looked for when its first letter is to be sent.
func (k *known) recall(ctx context.Context, dir letterDir, letters []*letter, from func(*partition) int64) {
	asked := map[*partition]int64{}
	for _, l := range letters {
		if p := l.item.part; l.id == "" && k.of[p] == nil {
			asked[p] = from(p)
		}
	}
	if len(asked) > 0 {
		k.find(ctx, dir, asked)
	}
	for _, l := range letters {
		of := k.of[l.item.part]
		if len(of) == 0 {
			continue
		}
		id := l.dead().ID
		if c, ok := of[id]; ok {
			delete(of, id)
			l.inDir, l.noted = true, c != dlq.NoCopy
			l.inTopic, l.stubbed = c != dlq.NoCopy, c == dlq.StubCopy
		}
	}
}

// find looks for the letters of partitions, from an offset on.
func (k *known) find(ctx context.Context, dir letterDir, from map[*partition]int64) {
	if k.of == nil {
		k.of = map[*partition]map[string]dlq.Copy{}
	}
	type origin struct {
		topicID   [16]byte
		partition int32
	}
	parts := map[origin]*partition{}
	for p := range from {
		k.of[p] = map[string]dlq.Copy{}
		parts[origin{p.topicID, p.partition}] = p
	}
	of := func(id string) *partition {
		topicID, partition, offset, ok := dlq.ParseOriginID(id)
		if p := parts[origin{topicID, partition}]; ok && p != nil && offset >= from[p] {
			return p
		}
		return nil
	}
	for l, err := range dir.Find(ctx, func(id string) bool { return of(id) != nil }) {
		if err != nil {
			return // they are written again: twice is better than not at all
		}
		ids := k.of[of(l.ID)]
		ids[l.ID] = max(ids[l.ID], l.Copied)
	}
}

// recall has the postman know what the directory had of letters in hand.
func (p *postman) recall(ctx context.Context, letters []*letter) {
	d := p.letterDir()
	if d == nil {
		return
	}
	p.flow.mu.Lock()
	maps.DeleteFunc(p.known.of, func(part *partition, _ map[string]dlq.Copy) bool { return part.dropped })
	marks := map[*partition]int64{} // what lies below is committed, or about to be
	for _, l := range letters {
		marks[l.item.part] = l.item.part.mark
	}
	p.flow.mu.Unlock()
	p.known.recall(ctx, d, letters, func(part *partition) int64 { return marks[part] })
}
