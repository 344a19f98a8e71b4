// Command worker measures the sink worker on a topic of a real Kafka that holds real events, as the producer ships
// them, beside what bounds it: franz-go reading the same topic and doing nothing with it, and the bare drivers storing
// the same rows. All in one run on one machine, which prints ratios.
//
//	go run -tags integration ./worker                     throughput, in interleaved rounds
//	go run -tags integration ./worker -lag 10000000       memory of a worker that has so many records to catch up with
//	go run -tags integration ./worker -scale              1, 2 and 4 workers, each held to a part of a processor
//	go run -tags integration ./worker -flood -events N    what tenants wait beside one that has N events waiting
//	go run -tags integration ./worker -flood -times 100   and beside one that has a hundred times as many
//
// Whatever is measured is a process of its own, so that its processor time and memory are its own too: this program
// again, or the test binary of a sink's package, whose BenchmarkBare is the bare loop. A rate begins with the first
// records that come, so that joining the group does not count, and ends with the commit of the last batch that was cut
// because it was full. The servers are installed at their first use, as for the integration suite: that takes Java 17
// with Maven for Kafka and Python with pip for ClickHouse.
package main
