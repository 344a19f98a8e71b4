package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// Worker moves events from Kafka to a sink. Make it with [New] and run it once with [Worker.Run]; [Worker.Stats]
// and [Worker.Ready] may be called at any time, from any goroutine.
type Worker struct {
	cfg   Config
	log   *slog.Logger
	flow  *flow
	store *store
	post  *postman
	stats counters
	rows  rowPool

	perTenant sinkers.PerTenant // nil: there is one database

	started atomic.Bool
	noDrain atomic.Bool // Run ends without draining
	admin   *kgo.Client // letters and questions
	client  *kgo.Client // the group's member
	fatal   context.CancelCauseFunc

	commits *committer
	book    *bookkeeper
	pauseMu sync.Mutex // guards paused
	paused  map[source]bool

	assignments chan struct{}            // partitions were assigned
	found       atomic.Pointer[[]string] // topics that are there, where patterns are given; nil: not known yet

	brokers atomic.Pointer[error] // why the brokers can't be used, as of the last check
}

// New checks cfg and returns a worker that Run starts. The error names everything that is wrong with it. New
// touches neither disk nor network.
func New(cfg Config) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	cfg = cfg.withDefaults()
	w := &Worker{
		cfg: cfg, log: cfg.Logger,
		flow:   newFlow(cfg.MaxInFlightBytes, cfg.Batch),
		store:  newStore(cfg.Sink, cfg.Retry),
		paused: map[source]bool{}, assignments: make(chan struct{}, 1),
		fatal: func(error) {},
	}
	if w.perTenant, _ = cfg.Sink.(sinkers.PerTenant); w.perTenant != nil {
		w.flow.lanes = newLanes(w.perTenant.Places(), w.openLane)
	}
	w.commits = newCommitter(w)
	w.noDrain.Store(cfg.ShutdownTimeout < 0)
	w.stats.setState(Idle, "Run was not called yet")
	w.stats.count(func(s *Stats) { s.Circuit.State = CircuitClosed })
	w.book = newBookkeeper(w)
	w.post = &postman{
		book:        w.book,
		dirSuffices: cfg.DirIsDurable, flow: w.flow, stats: &w.stats, log: w.log, retry: cfg.Retry,
		wake: make(chan struct{}, 1), moved: w.lettersMoved,
	}
	return w, nil
}

// Run reads, writes and commits until ctx ends or something fails that waiting doesn't mend: a missing topic, a
// missing permission, an instance id that another worker took. It then drains: what is in flight is written
// and committed, within ShutdownTimeout, and the group is left. The error is nil when ctx ended it.
//
// Brokers that can't be reached are waited for, at the start and later; see [Worker.Ready]. Run can be
// called once.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return errors.New("consumer: Run was called before; make a new worker")
	}
	defer w.stats.setState(Stopped, "Run has returned")
	err := w.run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	return nil
}

func (w *Worker) run(ctx context.Context) error {
	soft, fatal := context.WithCancelCause(ctx)
	defer fatal(nil)
	w.fatal = fatal
	opts, err := w.cfg.Kafka.Opts()
	if err != nil {
		return err
	}
	if w.admin, err = kgo.NewClient(append(opts, w.adminOpts()...)...); err != nil {
		return err
	}
	defer w.admin.Close()
	if err := w.await(soft); err != nil {
		return err
	}
	w.warnWeakTopics(soft, w.cfg.allTopics())
	// The client begins to join the group as soon as it is made, so its callbacks must find all in place.
	w.useLetterForms()
	hard, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)
	if w.client, err = kgo.NewClient(append(opts, w.groupOpts(hard)...)...); err != nil {
		return err
	}
	w.stats.setState(Running, "")
	w.log.Info("worker runs", "group", w.cfg.Group, "topics", w.cfg.Topics)
	w.work(soft, hard, kill)
	cause := context.Cause(soft)
	w.leave(hard, errors.Is(cause, kerr.FencedInstanceID))
	return cause
}

// work runs the goroutines until soft has ended and what is in flight is drained, or hard has ended.
func (w *Worker) work(soft, hard context.Context, kill context.CancelCauseFunc) {
	var side, main, notes, last errgroup.Group
	side.Go(func() error { w.watch(soft); return nil })
	side.Go(func() error { w.watchOrphans(soft); return nil })
	side.Go(func() error { w.watchConflicts(soft); return nil })
	side.Go(func() error { w.prune(soft); return nil })
	notes.Go(func() error { w.book.run(hard); return nil })
	if w.cfg.LetterDir != nil {
		side.Go(func() error { w.runLetterDir(soft); return nil })
	}
	w.goWrite(soft, hard, &main)
	main.Go(func() error { return w.post.run(hard) })
	last.Go(func() error { return w.commits.run(hard) })

	w.poll(soft)
	w.stats.setState(Stopping, "draining")
	if w.noDrain.Load() {
		kill(errors.New("stopped without draining"))
	} else {
		t := time.AfterFunc(w.cfg.ShutdownTimeout, func() {
			kill(fmt.Errorf("not drained within %v (shutdown_timeout)", w.cfg.ShutdownTimeout))
		})
		defer t.Stop()
	}
	w.flow.close()
	err := main.Wait()
	w.book.close()
	_ = notes.Wait()
	close(w.commits.end)
	if err = errors.Join(err, last.Wait()); err != nil {
		w.log.Warn("stopped with events in flight; they will be read again", "err", err, "bytes", w.Stats().InFlightBytes)
	}
	_ = side.Wait()
}

// goWrite runs what lies between the flow and the postman, which is closed in the end.
func (w *Worker) goWrite(soft, hard context.Context, group *errgroup.Group) {
	if w.flow.lanes != nil {
		group.Go(func() error {
			defer w.post.close()
			return w.runLanes(hard)
		})
		return
	}
	decode := &decodeStage{Worker: w, out: make(chan *batch)}
	group.Go(func() error { return decode.run(hard) })
	group.Go(func() error {
		defer w.post.close()
		return (&writer{Worker: w, store: w.store, circuit: newCircuit(w.cfg.Retry)}).run(soft, hard, decode.out)
	})
}

// leaveTimeout bounds the farewell to the group.
const leaveTimeout = 5 * time.Second

// leave leaves the group and closes the client. A static member is taken out by its instance id: its client
// would not do so, and its partitions would rest until the session timeout. Once fenced, the id is another's.
func (w *Worker) leave(hard context.Context, fenced bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(hard), leaveTimeout)
	defer cancel()
	if hard.Err() == nil && w.cfg.InstanceID != "" && !fenced {
		defer func() {
			adm := kadm.NewClient(w.admin)
			res, err := adm.LeaveGroup(ctx, kadm.LeaveGroup(w.cfg.Group).Reason("stopped").InstanceIDs(w.cfg.InstanceID))
			if err == nil {
				err = res.Error()
			}
			if err != nil {
				w.log.Warn("the group was not left; the partitions rest until the session times out", "err", err)
			}
		}()
	}
	if err := w.client.LeaveGroupContext(ctx); err != nil {
		w.log.Warn("leaving the group failed", "err", err)
	}
	w.client.CloseAllowingRebalance()
	// Closing leaves once more, in a goroutine that nobody waits for, since the group was left; and polls once more, which blocks
	// rebalances if it finds anything. Where the poll comes first, that goroutine waits for what only we can allow.
	w.client.AllowRebalance()
}

// runLetterDir tries the directory's waiting letters again, from time to time.
func (w *Worker) runLetterDir(ctx context.Context) {
	if err := w.cfg.LetterDir.Run(ctx, w.redeliver); err != nil && ctx.Err() == nil {
		w.log.Error("the directory of letters is not tried again", "err", err)
	}
}

func (w *Worker) useLetterForms() {
	if w.cfg.LetterTopic != NoLetterTopic {
		w.post.topic = topicForm{topic: dlq.NewTopic(w.admin, w.cfg.LetterTopic), stub: w.cfg.LetterDir != nil}
	}
	if w.cfg.LetterDir != nil {
		w.post.dir = dirForm{w.cfg.LetterDir}
	}
}

// lettersMoved is called by the postman after a round.
func (w *Worker) lettersMoved() {
	signal(w.commits.wake)
	w.syncPauses(w.client)
}

// pause stops fetching, since the sink is away.
func (w *Worker) pause(err error) {
	if w.stats.setState(Paused, err.Error()) {
		w.log.Error("the sink is away; fetching is paused", "err", err)
	} else {
		w.log.Warn("the sink is still away", "err", err)
	}
	w.flow.setAway(true)
	w.syncPauses(w.client)
}

// resume undoes pause.
func (w *Worker) resume() {
	was := false
	w.stats.count(func(s *Stats) { was = s.State == Paused })
	if was {
		w.stats.setState(Running, "")
		w.log.Info("the sink is back; fetching goes on")
		w.flow.setAway(false)
		w.syncPauses(w.client)
	}
}

// Ready returns nil when the worker is reading and storing, and otherwise why it is not: the error joins the reasons
// ([errors.Join]). With a database for each tenant, some that are away are no reason; see Stats.AwayTenants.
func (w *Worker) Ready() error {
	s := w.Stats()
	var reasons []error
	switch {
	case s.State == Paused:
		reasons = append(reasons, fmt.Errorf("%s: the database is away since %s: %s", s.State, s.Circuit.Since.UTC().Format(time.RFC3339), s.Reason))
	case s.State != Running:
		reasons = append(reasons, fmt.Errorf("%s: %s", s.State, s.Reason))
	}
	if s.AwayTenants > 0 && !s.LastWrite.After(s.Circuit.Since) {
		reasons = append(reasons, fmt.Errorf("the databases of all tenants that had events since %s are away, %d of them: %s",
			s.Circuit.Since.UTC().Format(time.RFC3339), s.AwayTenants, s.Circuit.Reason))
	}
	if n := s.waitForLetters(); n > 0 {
		reasons = append(reasons, fmt.Errorf("letters can't be written, or not noted in the ledger, and %d partitions wait for that", n))
	}
	if err := w.brokers.Load(); err != nil && s.State != Stopped {
		reasons = append(reasons, fmt.Errorf("the brokers don't answer as they should: %w", *err))
	}
	return errors.Join(reasons...)
}
