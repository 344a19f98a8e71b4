package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config of a [Broker]. The zero value is a broker in memory, on a free port, without topics.
type Config struct {
	// Dir keeps the broker's data; made if it isn't there. One process at a time may use it. Default:
	// none, the data is in memory and gone with the broker.
	Dir string
	// Port on 127.0.0.1. Default: a free one. It need not be that of an earlier run on the same Dir.
	Port int
	// Topics to have from the start. One that Dir already holds is left as it is.
	Topics []Topic
	// Logger receives what the broker itself has to say; its errors and warnings only. Default: none.
	Logger *slog.Logger
}

// Topic to have from the start.
type Topic struct {
	// Name of the topic. Required.
	Name string
	// Partitions it is made with. Default 12.
	Partitions int32
	// Config of the topic, by Kafka's names. Default: Kafka's defaults.
	Config map[string]string
}

// Broker is a running broker. Its methods may be called from any goroutine.
type Broker struct {
	cluster *kfake.Cluster
	gate    *gate
	lock    *flock.Flock // nil in memory

	closeOnce sync.Once
	closeErr  error
}

// Start starts a broker and returns when it takes requests. It fails when the directory can't be used or
// another process uses it, when the port is taken, and when a topic can't be made.
func Start(c Config) (*Broker, error) {
	b := &Broker{}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("firetrail-demo"),
		kfake.WithLogger(logger{c.Logger}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			gate, err := newGate(network, fmt.Sprintf("127.0.0.1:%d", c.Port))
			b.gate = gate
			return gate, err
		}),
	}
	if c.Dir != "" {
		data := filepath.Join(c.Dir, "data")
		if err := os.MkdirAll(data, 0o700); err != nil {
			return nil, fmt.Errorf("embedded broker: dir: %w", err)
		}
		b.lock = flock.New(filepath.Join(c.Dir, "lock"))
		switch mine, err := b.lock.TryLock(); {
		case err != nil:
			return nil, fmt.Errorf("embedded broker: dir: %w", err)
		case !mine:
			_ = b.lock.Close()
			return nil, fmt.Errorf("embedded broker: dir: %s is in use by another process; wait for it, or take another", c.Dir)
		}
		opts = append(opts, kfake.DataDir(data))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded broker: %w", err), b.Close())
	}
	b.cluster = cluster
	if err := b.makeTopics(c.Topics); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded broker: %w", err), b.Close())
	}
	return b, nil
}

// makeTopics goes through the front door: kfake seeds topics only in a directory that is new.
func (b *Broker) makeTopics(topics []Topic) error {
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for _, t := range topics {
		conf := make(map[string]*string, len(t.Config))
		for k, v := range t.Config {
			conf[k] = &v
		}
		partitions := t.Partitions
		if partitions == 0 {
			partitions = 12
		}
		if _, err := adm.CreateTopic(ctx, partitions, 1, conf, t.Name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("topics: %q: %w", t.Name, err)
		}
	}
	return nil
}

// Addrs is where the broker is, as host:port, whether or not it is cut off just now.
func (b *Broker) Addrs() []string { return []string{b.gate.Addr().String()} }

// Cut takes the broker off the network: every connection is reset, and new ones are refused, until
// [Broker.Restore]. Cutting twice is cutting once.
func (b *Broker) Cut() { b.gate.cut() }

// Restore brings the broker back on the port it had. It fails when another program has taken that port
// meanwhile, and when the broker is closed; it does nothing when the broker isn't cut off.
func (b *Broker) Restore() error {
	if err := b.gate.restore(); err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	return nil
}

// Close stops the broker and writes down the rest of its state. It may be called more than once.
func (b *Broker) Close() error {
	b.closeOnce.Do(func() {
		if b.cluster != nil {
			b.cluster.Close()
		}
		if b.gate != nil {
			_ = b.gate.Close()
		}
		if b.lock != nil {
			b.closeErr = b.lock.Close()
		}
	})
	return b.closeErr
}

// logger hands kfake's errors and warnings to slog.
type logger struct{ to *slog.Logger }

// Logf implements [kfake.Logger].
func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if l.to == nil {
		return
	}
	switch level {
	case kfake.LogLevelError:
		l.to.Error("embedded broker: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.to.Warn("embedded broker: " + fmt.Sprintf(format, args...))
	}
}
