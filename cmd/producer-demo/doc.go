// Command producer-demo sends real audit events all the way: a durable producer, a broker, a sink worker
// and SQLite, in one process, and checks that every event is in the database exactly once.
//
//	go run ./cmd/producer-demo
//	go run ./cmd/producer-demo --events 60000 --rate 6000 --outage 4s
//	go run ./cmd/producer-demo --brokers localhost:9092 --json
//
// The way through the files: main.go reads the flags, demo.go is the run from beginning to end, input.go
// yields the events, feed.go fires them at the rate asked for, pipeline.go holds what they go through,
// verify.go asks the database for every id, and result.go prints the figures.
package main
