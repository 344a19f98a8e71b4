// Package httpaudit gives the events of an HTTP request what the request knows: the client's address, its
// user agent, a request id, the trace, and who the tenant and the actor are. It is a middleware for net/http.
//
//	audit, err := httpaudit.New(httpaudit.Config{
//		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
//	})
//	if err != nil {
//		return err
//	}
//	http.ListenAndServe(":8080", audit(mux))
//
// Everything travels in the request's context, so that the call site names only what it did:
//
//	producer.Fire(r.Context(), CourseCreated.Event(firetrail.Input[Course]{New: &course}))
//
// What is known only later, such as who the user is, is added by [WithActor] and [WithTenant] for the
// handlers further in.
//
// # What can be believed
//
// The address in an audit trail is evidence, and X-Forwarded-For is whatever a client cares to send, with
// what the proxies added at its end. So the header counts only when the connection comes from a trusted
// proxy, and it is read from the right: each address that is a trusted proxy's vouches for the one before
// it, and the first that isn't is the client's. Nothing to the left of that is looked at. Without trusted
// proxies the address is that of the connection.
//
// A request id is taken over from a trusted proxy only, too, so that no client can make its events look like
// another request's. User agent and trace are what the client says of itself, made fit to be stored.
package httpaudit
