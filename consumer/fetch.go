package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// poller is the goroutine that takes records from the client into the flow.
type poller struct {
	*Worker
	average int64    // memory of a record, lately
	renewed []string // topics that were deleted and made again
}

// maxPoll is the most records taken in at once: rebalances wait that long.
const maxPoll = 5000

// poll takes in records until ctx ends or something is fatal.
func (w *Worker) poll(ctx context.Context) {
	p := &poller{Worker: w, average: 1024}
	for {
		free, err := w.flow.waitRoom(ctx)
		if err != nil {
			return
		}
		// A slice at a time, so that a single partition with a backlog is paused before it has it all.
		n := min(max(min(free, w.cfg.MaxInFlightBytes/8)/p.average, 1), maxPoll)
		fetches := w.client.PollRecords(ctx, int(n))
		p.take(fetches)
		fatal := p.errors(fetches)
		w.client.AllowRebalance()
		if fatal != nil {
			w.fatal(fatal)
		}
		if ctx.Err() != nil {
			return
		}
		w.syncPauses(w.client)
		p.renew()
	}
}

// take brings the records of fetches into the flow.
func (p *poller) take(fetches kgo.Fetches) {
	now := time.Now()
	var records, memory int64
	for _, fetch := range fetches {
		for _, t := range fetch.Topics {
			for i := range t.Partitions {
				if len(t.Partitions[i].Records) == 0 {
					continue
				}
				p.fetchedAt(t.Topic, &t.Partitions[i], now)
				n, size := p.flow.add(t.Topic, t.TopicID, &t.Partitions[i], now)
				if memory += size; n < len(t.Partitions[i].Records) {
					signal(p.commits.wake) // control records may be all there is to commit
				}
				records += int64(n)
			}
		}
	}
	if records > 0 {
		p.average = (3*p.average + memory/records + 3) / 4
		p.stats.count(func(s *Stats) { s.Records += records })
	}
}

// errors deals with the errors of a poll and returns the one that ends the worker, if there is one.
func (p *poller) errors(fetches kgo.Fetches) (fatal error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		var loss *kgo.ErrDataLoss
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		case errors.As(err, &loss):
			p.stats.count(func(s *Stats) { s.DataLosses++ })
			p.log.Error("the brokers have lost records; what they have is read from its start", "err", err)
		case errors.Is(err, kerr.UnknownTopicID):
			p.addRenewed(topic)
		default:
			if why := explainFatal(p.cfg, err); why != nil {
				fatal = why
				return
			}
			p.log.Warn("fetching failed; it is tried again", "topic", topic, "partition", partition, "err", err)
		}
	})
	return fatal
}

func (p *poller) addRenewed(topic string) {
	for _, t := range p.renewed {
		if t == topic {
			return
		}
	}
	p.renewed = append(p.renewed, topic)
}

// renew begins anew with topics that were deleted and made again, which the client would not read on its
// own. What is in flight of the old ones is stored like anything else, and never committed.
func (p *poller) renew() {
	for _, topic := range p.renewed {
		p.log.Warn("the topic was deleted and made again; it is read from its start", "topic", topic)
		p.flow.forget(topic)
		p.client.PurgeTopicsFromConsuming(topic)
		p.client.AddConsumeTopics(topic) // one that a pattern matches comes back by that
		p.client.ForceMetadataRefresh()
	}
	p.renewed = p.renewed[:0]
}

// forget ends the assignments of a topic that is no more, but not what is in flight of it.
func (f *flow) forget(topic string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s, p := range f.parts {
		if s.topic == topic {
			p.gone = true
			delete(f.parts, s)
		}
	}
}

// syncPauses pauses and resumes partitions as the flow wants it.
func (w *Worker) syncPauses(cl *kgo.Client) {
	w.pauseMu.Lock()
	defer w.pauseMu.Unlock()
	want := w.flow.pauses()
	var pause, resume []source
	for s := range want {
		if !w.paused[s] {
			pause = append(pause, s)
		}
	}
	for s := range w.paused {
		if !want[s] {
			resume = append(resume, s)
		}
	}
	w.paused = want
	if len(pause) > 0 {
		cl.PauseFetchPartitions(byTopic(pause))
	}
	if len(resume) > 0 {
		cl.ResumeFetchPartitions(byTopic(resume))
	}
}

// byTopic returns partitions as the client and the log take them.
func byTopic(all []source) map[string][]int32 {
	m := map[string][]int32{}
	for _, s := range all {
		m[s.topic] = append(m[s.topic], s.partition)
	}
	return m
}
