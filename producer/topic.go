package producer

import (
	"context"

	"github.com/firetrail/firetrail/kafkaclient"
)

// checkTopic warns, once, where the topic could lose what its broker has acknowledged. It waits until a broker
// answers, and gives up quietly where settings may not be looked at.
func (p *Producer) checkTopic() {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		ctx, cancel := context.WithTimeout(p.ctx, deliverTimeout)
		err := kafkaclient.Check(ctx, p.client)
		if err == nil {
			p.warnWeakness(ctx)
			cancel()
			return
		}
		cancel()
		if pause(p.ctx, backoff); p.ctx.Err() != nil {
			return
		}
	}
}

func (p *Producer) warnWeakness(ctx context.Context) {
	weak, err := kafkaclient.WeakTopics(ctx, p.client, p.cfg.Topic)
	if err != nil {
		return // Ready and shipping tell of a topic that isn't there
	}
	for _, w := range weak {
		p.cfg.Logger.Warn("producer: the topic can lose acknowledged events", "topic", w.Topic, "problem", w.Problem)
	}
}
