// Command sink-worker takes audit events from Kafka into a database, and reads them there.
//
//	sink-worker run --brokers localhost:9092 --sqlite audit.db
//	sink-worker run --brokers localhost:9092 --clickhouse-addrs localhost:9000
//	sink-worker run --brokers localhost:9092 --libsql-url libsql://audit.example.com
//	sink-worker query --sqlite audit.db --action 'iam.*' --outcome denied
//	sink-worker lag --brokers localhost:9092
//	sink-worker verify --sqlite audit.db
//	sink-worker dlq list --dlq-dir .firetrail/dlq
//	sink-worker replay --brokers localhost:9092 --to-time 24h
//	sink-worker topics create --brokers localhost:9092
//	sink-worker config check --config sink-worker.yaml
//
// Each setting can be given as flag, in the environment and in a YAML file; see package cmd/internal/cli.
// Results go to stdout, logs to stderr. It ends with 0 when it did what was asked, 1 when it could not,
// and 2 when the command line or a setting is wrong.
package main
