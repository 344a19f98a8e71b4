// Package producertest is for the tests of services that fire audit events: a [Recorder] takes the place of
// a *producer.Producer and keeps what was fired.
//
// The service's code names what it needs, which both satisfy:
//
//	type auditor interface {
//		Fire(ctx context.Context, e firetrail.Event)
//	}
package producertest
