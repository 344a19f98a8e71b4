package producer

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firetrail/firetrail/kafkaclient"
)

const (
	// learnEvery is how often the shape of the one topic is asked for at the least while it isn't known, and
	// learnTenantsEvery that of a tenant's.
	learnEvery        = time.Second
	learnTenantsEvery = 3 * time.Second
	// askMost is how many topics are asked for at a time, and askPause lies between.
	askMost  = 200
	askPause = 20 * time.Millisecond
	// warnFirst is how long after a warning of topics that are missing others may be warned of, and warnAgain how long
	// until they all are once more.
	warnFirst = 10 * time.Second
	warnAgain = time.Minute
	// warnNames is how many of them a warning names.
	warnNames = 5
)

// learn asks for the shapes that are wanted, until there are answers.
func (r *routes) learn(p *Producer) {
	for p.ctx.Err() == nil {
		due, next := r.due(time.Now())
		if len(due) > 0 {
			r.askFor(p, due)
			r.warn(p, time.Now())
			pause(p.ctx, askPause)
			continue
		}
		t := time.NewTimer(next)
		select {
		case <-r.wanted:
		case <-t.C:
		case <-p.ctx.Done():
		}
		t.Stop()
	}
}

// due returns routes to ask for now, those that have waited longest, or how long there is nothing to ask for.
func (r *routes) due(now time.Time) (due []*route, next time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next = time.Hour
	for w := range r.unknown {
		if wait := w.askAt.Sub(now); wait > 0 {
			next = min(next, wait)
		} else {
			due = append(due, w)
		}
	}
	if len(due) > askMost {
		slices.SortFunc(due, func(a, b *route) int { return a.askAt.Compare(b.askAt) })
		due = due[:askMost]
	}
	return due, next
}

// askFor asks for routes, of which the client has forgotten what it is to forget, and notes the answers.
func (r *routes) askFor(p *Producer, due []*route) {
	ctx, cancel := context.WithTimeout(p.ctx, deliverTimeout)
	defer cancel()
	var topics, stale []string
	for _, w := range due {
		topics = append(topics, w.topic)
		if w.refresh() {
			stale = append(stale, w.topic)
		}
	}
	p.client.PurgeTopicsFromClient(stale...)
	found, errs := kafkaclient.TopicShapes(ctx, p.client, topics...)
	var known []string
	for _, w := range due {
		if r.learned(w, found[w.topic], errs[w.topic]) {
			known = append(known, w.topic)
		}
	}
	if len(known) == 0 {
		return
	}
	r.news.Add(1)
	for _, o := range p.logs.all() {
		o.shipper.window.wake()
	}
	if r.one == nil && !p.cfg.WeakTopic {
		p.warnWeakness(ctx, known...)
	}
}

// refresh reports whether the client is to forget the topic first, which it then is.
func (w *route) refresh() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	stale := w.stale
	w.stale = false
	return stale
}

// learned notes what came of asking for a route, and reports whether it is known now.
func (r *routes) learned(w *route, s kafkaclient.Shape, err error) bool {
	known := err == nil && s.Partitions > 0
	w.mu.Lock()
	again := w.stale // it was forgotten meanwhile
	if w.lastErr = err; known && !again {
		w.partitions = s.Partitions
		if limit := int32(min(max(s.MaxMessageBytes, minLimit), defaultLimit)); s.MaxMessageBytes > 0 && (!w.lowered || limit < w.limit.Load()) {
			w.limit.Store(limit)
		}
	}
	w.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[w.topic] != w { // nobody wants it any more
		return false
	}
	if missing := !known && errors.Is(err, kerr.UnknownTopicOrPartition); missing != w.missing {
		w.missing = missing
		r.missing += map[bool]int{true: 1, false: -1}[missing]
	}
	if known && !again {
		delete(r.unknown, w)
		w.told, w.backoff = false, 0
		return true
	}
	most := learnEvery
	if r.one == nil {
		most = learnTenantsEvery
	}
	w.backoff = min(max(2*w.backoff, minBackoff), most)
	w.askAt = time.Now().Add(w.backoff)
	return false
}

// missingTopics is how many topics of tenants that have events are not there.
func (r *routes) missingTopics() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missing
}

// warn tells of topics of tenants that are not there, and how they are made.
func (r *routes) warn(p *Producer, now time.Time) {
	if r.one != nil {
		return // the shippers complain
	}
	missing, all := r.toWarnOf(now)
	if len(missing) == 0 {
		return
	}
	command := "sink-worker topics create --brokers=" + strings.Join(p.cfg.Kafka.Brokers, ",") + " --topic-prefix=" + r.prefix
	var topics []string
	for _, w := range missing {
		command += " --tenant=" + quoted(w.tenant)
		topics = append(topics, w.topic)
	}
	p.cfg.Logger.Warn("producer: topics of tenants are not there; their events wait until they are made",
		"topics", topics, "missing", all, "command", command)
}

// toWarnOf returns some of the topics that are missing, and how many there are; none where it is too early to warn.
func (r *routes) toWarnOf(now time.Time) (some []*route, all int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missing == 0 || now.Sub(r.warned) < warnFirst {
		return nil, 0
	}
	var fresh []*route
	for w := range r.unknown {
		if w.missing && w.backoff >= 4*minBackoff { // a broker that has just started may not know all topics
			if some = append(some, w); !w.told {
				fresh = append(fresh, w)
			}
		}
	}
	switch {
	case len(fresh) > 0:
		some = fresh
	case len(some) == 0 || now.Sub(r.warned) < warnAgain:
		return nil, 0
	}
	r.warned = now
	slices.SortFunc(some, func(a, b *route) int { return cmp.Compare(a.topic, b.topic) })
	for _, w := range some {
		w.told = true
	}
	return some[:min(len(some), warnNames)], r.missing
}

var plain = regexp.MustCompile(`^[A-Za-z0-9._/:@-]+$`)

// quoted is a word for a shell.
func quoted(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
