package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/embedded"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// pipeline is what an event goes through, from Fire to the database.
type pipeline struct {
	settings *grammar
	log      *slog.Logger
	kafkaLog *slog.Logger // of the Kafka client
	ids      ledger

	broker   *embedded.Broker // nil with --brokers
	kafka    kafkaclient.Config
	group    string
	admin    *kgo.Client
	db       *sqlite.Sink
	letters  *dlq.Dir
	producer *producer.Producer
	newID    *firetrail.IDGenerator

	began   time.Time // when worker did
	worker  *consumer.Worker
	stop    context.CancelFunc // of worker
	stopped chan struct{}      // closed when worker has stopped
	failed  error              // why, once stopped is closed

	mu       sync.Mutex
	endToEnd histogram // from Fire to stored and committed, ns
	last     time.Time // when the last batch was stored
}

// open starts everything in the order an event goes through it backwards, so that nothing waits for what
// isn't there. What it has opened when it fails is for close.
func (p *pipeline) open(ctx context.Context) error {
	p.kafka = kafkaclient.Config{Brokers: p.settings.Brokers, ClientID: "firetrail-demo", Logger: p.kafkaLog}
	for _, step := range []func(context.Context) error{
		p.openBroker, p.openTopics, p.openSink, p.openGroup, p.openWorker, p.openProducer,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *pipeline) openBroker(context.Context) (err error) {
	if len(p.settings.Brokers) > 0 {
		return nil
	}
	if p.broker, err = embedded.Start(embedded.Config{Dir: p.settings.path("broker"), Logger: p.log}); err != nil {
		return err
	}
	p.kafka.Brokers = p.broker.Addrs()
	return nil
}

// topicTimeout bounds the first contact with the brokers.
const topicTimeout = 20 * time.Second

func (p *pipeline) openTopics(ctx context.Context) error {
	opts, err := p.kafka.Opts()
	if err != nil {
		return err
	}
	if p.admin, err = kgo.NewClient(opts...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, topicTimeout)
	defer cancel()
	if err := kafkaclient.Check(ctx, p.admin); err != nil {
		return err
	}
	specs := []kafkaclient.TopicSpec{
		kafkaclient.EventsTopic(p.settings.Topic), kafkaclient.LettersTopic(p.settings.Topic + ".dlq"),
	}
	brokers, err := kadm.NewClient(p.admin).ListBrokers(ctx)
	if err != nil {
		return err
	}
	for i := range specs {
		specs[i].ReplicationFactor = int16(min(3, len(brokers)))
	}
	_, err = kafkaclient.EnsureTopics(ctx, p.admin, specs)
	return err
}

// sqliteCache is half of the default: three programs share the process here.
const sqliteCache = 32 << 20

func (p *pipeline) openSink(ctx context.Context) (err error) {
	if p.db, err = sqlite.Open(ctx, sqlite.Config{Path: p.settings.path("audit.db"), CacheBytes: sqliteCache}); err != nil {
		return err
	}
	p.letters, err = dlq.OpenDir(dlq.DirConfig{Path: p.settings.path("dlq"), Logger: p.log})
	return err
}

func (p *pipeline) openWorker(ctx context.Context) (err error) {
	p.worker, err = consumer.New(consumer.Config{
		Kafka: p.kafka, Group: p.group, Topics: []string{p.settings.Topic},
		// A member that was killed would keep the partitions until its session ends; this one is the same
		// member again. The directory's lock keeps it the only one.
		InstanceID: "demo",
		Sink:       p.db, LetterDir: p.letters, DirIsDurable: true,
		Batch:  consumer.Batch{FlushInterval: 100 * time.Millisecond},
		Logger: p.log, OnBatch: p.stored,
		WeakTopics: p.broker != nil, // one broker keeps one replica
	})
	if err != nil {
		return err
	}
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.began, p.stopped = time.Now(), make(chan struct{})
	go func() {
		defer close(p.stopped)
		p.failed = p.worker.Run(ctx)
	}()
	return nil
}

// stored is called by the worker after each batch.
func (p *pipeline) stored(b consumer.BatchReport) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = now
	for i := range b.Rows {
		if at := b.Rows[i].Recorded; !at.IsZero() {
			p.endToEnd.add(int64(now.Sub(at)))
		}
	}
}

func (p *pipeline) close() error {
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if p.producer != nil {
		errs = append(errs, p.producer.Close(ctx))
	}
	if p.stop != nil {
		p.stop()
		<-p.stopped
		errs = append(errs, p.failed)
	}
	if p.letters != nil {
		errs = append(errs, p.letters.Close())
	}
	if p.db != nil {
		errs = append(errs, p.db.Close())
	}
	if p.admin != nil {
		p.admin.Close()
	}
	if p.broker != nil {
		errs = append(errs, p.broker.Close())
	}
	return errors.Join(errs...)
}
