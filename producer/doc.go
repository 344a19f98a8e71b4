// Package producer takes audit events from a service and gets them to Kafka without ever standing in the
// service's way.
//
//	p, err := producer.New(producer.Config{
//		Kafka:     kafkaclient.Config{Brokers: []string{"localhost:9092"}},
//		Dir:       "/var/lib/myservice/audit",
//		Namespace: "myservice",
//	})
//	…
//	p.Fire(ctx, CourseCreated.Event(firetrail.Input[Course]{Entity: firetrail.Entity{ID: c.ID}, New: &c}))
//
// At the end, [Producer.Close] with a deadline ships what it can until then; the rest is shipped at the next start.
//
// [Producer.Fire] returns nothing, never blocks on a disk, a network or a lock held across either, and never
// panics, whatever it is given; a nil *Producer is the off switch. It encodes the event, gives it its time,
// id and sequence, and appends it to a write-ahead log (package wal), which is the queue: on disk in the mode
// Durable, so that a kill -9 after Fire returned loses nothing, in memory in the mode Volatile. A goroutine for
// each log ships from it to Kafka, in order, and moves the log's mark as the broker acknowledges. The
// broker away, at the start or for hours, only makes the log longer.
//
// Each partition of the topic is shipped to by itself: one that is away, or slow, doesn't hold the others up. Its events
// wait in the log and, where others are acknowledged for Config.ParkAfter while it takes nothing, in files
// ([Stats].Parked), from which they are sent in order before any later ones.
//
// With Config.TopicPrefix each tenant has a topic of its own, named by kafkaclient.TenantTopic. No topic is made by
// producing to it: a tenant whose topic isn't there waits in the log and, after Config.ParkAfter, in files (up to 32
// tenants at a time; the others stay in the log), which is warned of with the command that makes it and counted in
// [Stats].MissingTopics. So it keeps room in the log: MaxTenantBytes bounds that. When the topic is made, in any way, what waited is
// sent within seconds, in order.
//
// The log is bounded by Config.MaxBytes and MaxEvents, and what one tenant may have of it by MaxTenantBytes. A log, or a
// directory of letters, that can't be opened is tried again; meanwhile memory stands in for it, and what that holds
// moves there.
//
// What can't be sent, because it is no event or the broker refuses it, becomes a dead letter in files
// (package dlq); what the log has no room for goes to such files too, and is sent from there. What can't be kept
// anywhere is counted by reason in [Stats], logged, and told to Config.OnDrop: nothing is lost in silence.
//
// Every event has a sequence, counted for each tenant in each source, which is a run of a producer: a hole in it is an
// event that was dropped. [Producer.Close] ends each with an event whose action is [firetrail.SourceClosed], and so
// does the producer where Config.MaxTenants bounds how many tenants it counts at a time; one that has no such end is a
// crash's, or still running.
//
// [Producer.Emit] is the fail-closed form: it waits until the event is on the disk, or at the broker, and says
// if it isn't.
package producer
