package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// DefaultAddress is where a worker listens unless told otherwise.
const DefaultAddress = "127.0.0.1:9464"

// Config configures a [Server]. The zero value of each field but Address is its default.
type Config struct {
	// Address to listen on, as host:port; port 0 is any that is free. Required. A host that isn't loopback is
	// refused unless AllowRemote is set: there is neither a password nor TLS.
	Address string
	// AllowRemote lets others than this host in. Default false.
	AllowRemote bool
	// Ready returns why the worker isn't ready; none: it is. It is called for each request of /readyz, concurrently,
	// and must return soon. Default: always ready.
	Ready func() []string
	// Details are shown in the answer of /readyz, as JSON; called as Ready is. Default: none.
	Details func() any
	// Logger is told of requests that failed. Default: none.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the configuration, each problem beginning with its field's name.
func (c Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fmt.Errorf("address: %q is not host:port, such as %s", c.Address, DefaultAddress)
	}
	var errs []error
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		errs = append(errs, fmt.Errorf("address: %q has port %q; a port is a number from 0 to 65535", c.Address, port))
	}
	if !c.AllowRemote && !isLoopback(host) {
		errs = append(errs, fmt.Errorf("address: %q can be reached from other hosts, and there is no password; take %s, or allow remote ones", c.Address, DefaultAddress))
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Server serves /metrics, /healthz and /readyz. Its methods may be called concurrently.
type Server struct {
	cfg      Config
	registry *prometheus.Registry
	listener net.Listener
	http     *http.Server
	done     chan struct{}
}

// Listen checks cfg and begins to serve. The error is one of cfg, or of the system where the address can't be had.
func Listen(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, registry: prometheus.NewRegistry(), done: make(chan struct{})}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if s.listener, err = net.Listen("tcp", cfg.Address); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{ErrorLog: promLog{cfg.Logger}, EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, http.StatusOK, status{Status: "alive"}) })
	mux.HandleFunc("GET /readyz", s.ready)
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("metrics and health are not served any more", "err", err)
		}
	}()
	return s, nil
}

// Addr returns the address that is served, as host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Register adds metrics. It panics where a name is there already.
func (s *Server) Register(c ...prometheus.Collector) { s.registry.MustRegister(c...) }

// Close ends it, having waited until ctx ends for the requests under way.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	return err
}

// status is the body of /healthz and /readyz.
type status struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
	Details any      `json:"details,omitempty"`
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	var reasons []string
	if s.cfg.Ready != nil {
		reasons = s.cfg.Ready()
	}
	code, body := http.StatusOK, status{Status: "ready"}
	if len(reasons) > 0 {
		code, body = http.StatusServiceUnavailable, status{Status: "not ready", Reasons: reasons}
	}
	if s.cfg.Details != nil {
		body.Details = s.cfg.Details()
	}
	s.answer(w, code, body)
}

func (s *Server) answer(w http.ResponseWriter, code int, body status) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // whoever asked has gone
}

// promLog passes promhttp's errors on.
type promLog struct{ log *slog.Logger }

func (l promLog) Println(v ...any) { l.log.Warn("metrics", "err", fmt.Sprint(v...)) }
