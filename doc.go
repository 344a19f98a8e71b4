// Package firetrail defines the audit event: what it holds, how it is named, and the two
// forms it travels in.
//
// An [Event] says who (Actor) did what (Action) to what (Entity), for which tenant, when,
// from where, and with what outcome. Its action is a [Name], which only [NewAction] and
// [ParseName] can make, so that a string typed at the call site does not compile; the values
// before and after are tied to the action's own type by [Action].Event.
//
//	var CourseCreated = firetrail.NewAction[Course]("course.created")
//
//	p.Fire(ctx, CourseCreated.Event(firetrail.Input[Course]{
//		Entity: firetrail.Entity{ID: c.ID},
//		New:    &c,
//	}))
//
// What nobody wants to repeat at every call (tenant, actor, request) travels in the context:
// see [WithContext].
//
// Two encodings live here. The compact binary form ([Event.AppendBinary], [DecodeBinary]) is
// what the producer's write-ahead log keeps; it costs the caller of Fire some tens of
// nanoseconds. The wire form ([Event.AppendCloudEvent], [DecodeCloudEvent]) is CloudEvents 1.0
// JSON, which any consumer of the topic can read. [Event.ContentHash] is what tells two events
// with one id apart.
//
// The way through the module is one-directional: firetrail → producer → wal → Kafka →
// consumer → sinkers, with dlq at the side.
package firetrail
