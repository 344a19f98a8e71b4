// Package embedded runs a Kafka broker inside the process, for the demo: franz-go's kfake, which keeps its
// data in a directory. It is for trying things out, on loopback, for one process: there is no replication,
// no authentication, and no promise about a power cut. What a producer had acknowledged survives a kill -9
// of the process, since it is in the operating system's hands by then.
//
// A [Broker] can be taken off the network and brought back, to see what an outage does: [Broker.Cut]
// closes every connection and the port, so that clients are cut off and then refused, as they are by a
// broker that died. [Broker.Restore] opens the same port again, on the data it had.
package embedded
