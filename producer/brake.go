package producer

import (
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// brakes keep records from overtaking those that come back. Where the broker refuses something, the client fails all
// that it buffers for the partition, and tells so by promises, later; what it is handed in between would go through.
// But before it sends the first batch it buffers for a partition it looks whether that one's context has ended. So the
// context of all of a destination's records has to end the moment the client fails them: it says so in its log, before
// it takes other records for the partition. There is no other way to know.
type brakes struct {
	to kgo.Logger // where the log goes; nil is nowhere

	mu sync.Mutex
	of map[target][]*destination // of all logs
}

// What the client logs, under the lock of a partition's buffer, when it fails what is in there.
const (
	logRefused = "batch in a produce request failed"
	logNotLed  = "produce partition load error, bumping error count on first stored batch" // if will_fail is true
)

func newBrakes(to kgo.Logger) *brakes {
	return &brakes{to: to, of: map[target][]*destination{}}
}

// Level implements kgo.Logger.
func (b *brakes) Level() kgo.LogLevel { return max(kgo.LogLevelInfo, b.toLevel()) }

func (b *brakes) toLevel() kgo.LogLevel {
	if b.to == nil {
		return kgo.LogLevelNone
	}
	return b.to.Level()
}

// Log implements kgo.Logger.
func (b *brakes) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if level <= b.toLevel() {
		b.to.Log(level, msg, keyvals...)
	}
	if msg == logRefused || msg == logNotLed && valueOf(keyvals, "will_fail") == true {
		topic, _ := valueOf(keyvals, "topic").(string)
		if partition, ok := valueOf(keyvals, "partition").(int32); ok {
			b.stop(target{topic, partition})
		}
	}
}

func valueOf(keyvals []any, key string) any {
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == key {
			return keyvals[i+1]
		}
	}
	return nil
}

// stop ends the contexts of a partition's records.
func (b *brakes) stop(at target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.of[at] {
		d.stop()
	}
}

// stopTopic ends the contexts of a topic's records.
func (b *brakes) stopTopic(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for at, of := range b.of {
		if at.topic != topic {
			continue
		}
		for _, d := range of {
			d.stop()
		}
	}
}

// release gives a destination, of which nothing is in flight, a context that has not ended.
func (b *brakes) release(d *destination) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d.renew()
	at := target{d.route.topic, d.partition}
	if at != d.at {
		b.remove(d)
		d.at = at
		b.of[at] = append(b.of[at], d)
	}
}

// forget ends a destination's context for good.
func (b *brakes) forget(d *destination) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d.stop()
	b.remove(d)
}

// remove is called under mu.
func (b *brakes) remove(d *destination) {
	of := b.of[d.at]
	i := slices.Index(of, d)
	if i < 0 {
		return
	}
	if of = slices.Delete(of, i, i+1); len(of) == 0 {
		delete(b.of, d.at)
	} else {
		b.of[d.at] = of
	}
	d.at = target{}
}
