package producer

import (
	"context"

	"github.com/firetrail/firetrail/kafkaclient"
)

// checkTopic warns, once, where the one topic could lose what its broker has acknowledged. It waits until a broker
// answers, and gives up quietly where settings may not be looked at.
func (p *Producer) checkTopic() {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		ctx, cancel := context.WithTimeout(p.ctx, deliverTimeout)
		err := kafkaclient.Check(ctx, p.client)
		if err == nil {
			p.warnWeakness(ctx, p.cfg.Topic)
			cancel()
			return
		}
		cancel()
		if pause(p.ctx, backoff); p.ctx.Err() != nil {
			return
		}
	}
}

// warnWeakness warns of topics that are weak: in one line, where they are tenants'.
func (p *Producer) warnWeakness(ctx context.Context, topics ...string) {
	weak, err := kafkaclient.WeakTopics(ctx, p.client, topics...)
	if err != nil || len(weak) == 0 {
		return // Ready and shipping tell of a topic that isn't there
	}
	if p.cfg.TopicPrefix != "" {
		n := 1
		for i := 1; i < len(weak); i++ {
			if weak[i].Topic != weak[i-1].Topic {
				n++
			}
		}
		p.cfg.Logger.Warn("producer: topics of tenants can lose acknowledged events", "topic", weak[0].Topic, "problem", weak[0].Problem, "topics", n)
		return
	}
	for _, w := range weak {
		p.cfg.Logger.Warn("producer: the topic can lose acknowledged events", "topic", w.Topic, "problem", w.Problem)
	}
}
