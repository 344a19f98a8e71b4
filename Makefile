# What a contributor runs. `make check` before every commit; CONTRIBUTING.md says more.

FUZZTIME ?= 10s
BENCH    ?= .
COUNT    ?= 1
ROUNDS   ?= 500
DURATION ?= 10m
DATABASE ?= clickhouse

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check
check: lint race ## what a commit must pass: lint, and the tests with the race detector

.PHONY: test
test: ## the tests, against brokers in the process
	go test ./...
	cd prometheusaudit && go test ./...

.PHONY: race
race: ## the tests with the race detector
	go test -race ./...
	cd prometheusaudit && go test -race ./...

.PHONY: integration
integration: ## the tests against a real Apache Kafka (needs Java 17, Maven, kcat)
	tools/integration

.PHONY: crash
crash: ## the long forms of the crash tests: ROUNDS (500) kills and random histories
	FIRETRAIL_KILL_ROUNDS=$(ROUNDS) go test -count=1 -timeout 60m -v -run 'Kill9|Hour|EverythingAtOnce' ./wal ./producer ./internal/crashtest

.PHONY: chaos
chaos: ## kills and stops at random of brokers, workers, producers and DATABASE (clickhouse, or sqlite) for DURATION (10m); the account of every event
	FIRETRAIL_CHAOS_DURATION=$(DURATION) FIRETRAIL_CHAOS_DATABASE=$(DATABASE) \
		go test -tags integration -count=1 -timeout 60m -v -run Chaos ./internal/chaos

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s)
	tools/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## what an event costs its caller, beside the peers; the log beside its ceiling; recovery; shipping
	cd bench && go run . $(BENCHFLAGS)

.PHONY: bench-ship
bench-ship: ## shipping to a real Apache Kafka beside franz-go alone (needs Java 17, Maven)
	go test -tags integration -run '^$$' -bench Ship -benchtime 5x ./producer

.PHONY: bench-sinks
bench-sinks: ## what the sinks store beside the bare drivers, on real servers; first and thousandth page (needs pip, npm)
	cd bench && go run ./sinks $(BENCHFLAGS)

.PHONY: bench-worker
bench-worker: ## the worker on a real Kafka beside a bare consumer and the bare drivers (needs Java 17, Maven, pip); BENCHFLAGS='-lag 10000000', -scale
	cd bench && go run -tags integration ./worker $(BENCHFLAGS)

.PHONY: peers
peers: ## other logs and ours under the same faults: the table of docs/peers.md
	cd bench && go run ./walfaults

.PHONY: bench-all
bench-all: ## the packages' benchmarks that match BENCH, COUNT times; compare two with benchstat (tools/tool)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

.PHONY: lint
lint: ## go vet, golangci-lint and the formatting
	go vet ./...
	"$$(tools/tool golangci-lint)" run ./...
	cd bench && go vet ./... && "$$(../tools/tool golangci-lint)" run ./...
	cd prometheusaudit && go vet ./... && "$$(../tools/tool golangci-lint)" run ./...

.PHONY: fmt
fmt: ## format the code
	"$$(tools/tool golangci-lint)" fmt ./...

.PHONY: demo
demo: ## a producer, a broker and a worker in one process, on real events
	go run ./cmd/producer-demo
