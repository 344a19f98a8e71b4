package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/admin"
)

// noAdmin as admin-address serves neither metrics nor health.
const noAdmin = "-"

type adminSettings struct {
	AdminAddress     string   `group:"worker" default:"127.0.0.1:9464" placeholder:"HOST:PORT" help:"Serve /metrics, /healthz and /readyz here (127.0.0.1:9464); - for not at all."`
	AdminAllowRemote cli.Bool `group:"worker" help:"Let admin-address be one that other hosts reach: there is no password."`
}

func (s *adminSettings) config() admin.Config {
	return admin.Config{Address: s.AdminAddress, AllowRemote: s.AdminAllowRemote.On}
}

// check notes what is wrong with the address.
func (s *adminSettings) check(p *cli.Problems) {
	if s.AdminAddress == noAdmin {
		return
	}
	for _, err := range unjoin(s.config().Validate()) {
		p.Add("admin-address", "%s", strings.NewReplacer("address: ", "", "allow remote ones", "set admin-allow-remote").Replace(err.Error()))
	}
}

// opening is what a worker does first.
const opening = "the database is being opened, or another worker has it and this one stands by"

// window is what operators see of the worker, from before it has a database until it has stopped. Its methods do
// nothing where that is switched off.
type window struct {
	server  *admin.Server
	metrics *admin.Worker
	worker  atomic.Pointer[consumer.Worker]
	waiting atomic.Pointer[string] // why there is no worker yet
}

// openWindow begins to serve. Where nobody has chosen the address and another has it, the worker goes without.
func (p *program) openWindow(s *adminSettings) (*window, error) {
	w := &window{}
	w.wait(opening)
	w.metrics = admin.NewWorker(w.stats)
	if s.AdminAddress == noAdmin {
		return w, nil
	}
	cfg := s.config()
	cfg.Ready, cfg.Details, cfg.Logger = w.notReady, w.details, p.log
	server, err := admin.Listen(cfg)
	chosen := slices.ContainsFunc(p.command.Settings, func(s cli.Setting) bool {
		return s.Name == "admin-address" && s.From != "default"
	})
	switch {
	case err != nil && chosen:
		return nil, fmt.Errorf("admin-address: %w", err)
	case err != nil:
		p.log.Warn("no metrics and health are served; choose another admin-address", "err", err)
		return w, nil
	}
	server.Register(w.metrics)
	w.server = server
	p.log.Info("metrics and health are served", "address", server.Addr())
	return w, nil
}

func (w *window) stats() consumer.Stats {
	if worker := w.worker.Load(); worker != nil {
		return worker.Stats()
	}
	return consumer.Stats{State: consumer.Idle, Circuit: consumer.Circuit{State: consumer.CircuitClosed}}
}

// notReady returns why the worker isn't.
func (w *window) notReady() []string {
	worker := w.worker.Load()
	if worker == nil {
		return []string{*w.waiting.Load()}
	}
	if err := worker.Ready(); err != nil {
		var reasons []string
		for _, e := range unjoin(err) {
			reasons = append(reasons, e.Error())
		}
		return reasons
	}
	return nil
}

// wait says why there is no worker yet.
func (w *window) wait(reason string) { w.waiting.Store(&reason) }

// details of /readyz: what is no reason for the worker's not being ready, and yet tells how it stands.
type details struct {
	State       string `json:"state"`
	Circuit     string `json:"circuit"`                // of the one database; of several, of the one that has been away for longest
	Away        string `json:"away,omitempty"`         // why
	AwayTenants int    `json:"away_tenants,omitempty"` // whose database is away
	Suspects    int    `json:"suspects,omitempty"`
}

func (w *window) details() any {
	s := w.stats()
	return details{string(s.State), string(s.Circuit.State), s.Circuit.Reason, s.AwayTenants, s.Suspects}
}

// show shows a worker and its directory of letters from now on.
func (w *window) show(worker *consumer.Worker, letters *dlq.Dir) {
	w.worker.Store(worker)
	if w.server != nil {
		w.server.Register(admin.NewLetters(letters.Stats))
	}
}

// close ends it.
func (w *window) close() error {
	if w.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := w.server.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
