package consumer

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What Kafka deletes before it is read is lost. The client goes on at the first record that is left and says nothing,
// so the worker keeps for each partition where it stands, and compares: with each fetch, and where nothing is fetched
// when it looks at the brokers.

// stillPatience is how long reading must have stood still below a partition's start until what lies between is held for
// lost: what was fetched before it was deleted may be on its way.
const stillPatience = watchInterval / 2

// fetchedOffsets is kgo.AdjustFetchOffsetsFn's: it changes nothing, and takes down where reading begins.
func (w *Worker) fetchedOffsets(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	w.flow.mu.Lock()
	for topic, parts := range offsets {
		for id, o := range parts {
			if p := w.flow.parts[source{topic, id}]; p != nil {
				p.asked = true
				if at := o.EpochOffset().Offset; at >= 0 && p.read < 0 { // others are the start
					p.from = at
				}
			}
		}
	}
	w.flow.mu.Unlock()
	signal(w.assignments) // what is behind is asked for now
	return offsets, nil
}

// fetchedAt compares where a partition was to be read next with what a fetch of it begins with.
func (w *Worker) fetchedAt(topic string, f *kgo.FetchPartition, now time.Time) {
	first := f.Records[0].Offset
	w.flow.mu.Lock()
	p := w.flow.parts[source{topic, f.Partition}]
	if p == nil {
		w.flow.mu.Unlock()
		return
	}
	from, again := p.next(), p.read < 0 && first < p.from
	if again {
		p.from = first
	}
	// Between the start and the first record there may be none: they were compacted away, or aborted.
	lost := p.begins(min(f.LogStartOffset, first), now)
	w.flow.mu.Unlock()
	switch {
	case again:
		w.stats.count(func(s *Stats) { s.DataLosses++ })
		w.log.Error("the partition ends before the offset that the group has committed: records were lost, or the topic was made again; it is read from its start",
			"topic", topic, "partition", f.Partition, "committed", from, "start", first)
	case from < 0 && first > 0:
		w.startsLate(source{topic, f.Partition}, first)
	case lost > 0:
		w.lostRecords(source{topic, f.Partition}, from, lost)
	}
}

// startsLate tells of a partition whose first records are gone, and that the group has no offset of.
func (w *Worker) startsLate(s source, start int64) {
	w.log.Warn("the group has no offset of the partition, whose first records are deleted; whether they were ever read isn't known",
		"topic", s.topic, "partition", s.partition, "start", start)
}

// lostRecords counts what was lost, and tells. There is no need to limit the lines: Kafka deletes some minutes' worth at a
// time.
func (w *Worker) lostRecords(s source, from, lost int64) {
	w.stats.count(func(s *Stats) { s.DataLosses++; s.Lost += lost })
	w.log.Error("Kafka deleted records before they were read, and they are lost; keep them for longer (retention.ms, retention.bytes), or add workers",
		"topic", s.topic, "partition", s.partition, "from", from, "to", from+lost, "records", lost)
}

// lookBelow compares where partitions stand that nothing is fetched of with their starts.
func (w *Worker) lookBelow(starts map[source]int64, now time.Time) {
	type loss struct {
		s          source
		from, lost int64
	}
	var losses, late []loss
	w.flow.mu.Lock()
	for s, p := range w.flow.parts {
		start, ok := starts[s]
		if !ok || !p.asked {
			continue
		}
		switch from := p.next(); {
		case from < 0:
			p.begins(start, now)
			if start > 0 {
				late = append(late, loss{s: s, from: start})
			}
		case from >= start:
		case p.behind.offset != from:
			p.start, p.behind = max(p.start, start), seen{from, now}
		case now.Sub(p.behind.time) >= stillPatience:
			losses = append(losses, loss{s, from, p.begins(start, now)})
		}
	}
	w.flow.mu.Unlock()
	for _, l := range late {
		w.startsLate(l.s, l.from)
	}
	for _, l := range losses {
		w.lostRecords(l.s, l.from, l.lost)
	}
	if len(losses) > 0 {
		signal(w.commits.wake)
	}
}
