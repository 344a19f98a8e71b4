package httpaudit

import (
	"crypto/rand"
	"fmt"
	"net/http"

	"github.com/firetrail/firetrail"
)

// New returns a middleware that puts a [firetrail.Context] into the context of every request. What an
// outer middleware has put there stays, but for what this one knows: a second one further in keeps the
// request as the first has seen it. Each response carries the request's id.
//
// The error names every field of the configuration that is wrong. The middleware may be used for any number
// of handlers at once.
func New(config Config) (func(http.Handler) http.Handler, error) {
	c, err := config.normalize()
	if err != nil {
		return nil, fmt.Errorf("httpaudit: %w", err)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, _ := firetrail.FromContext(r.Context())
			if ctx.Request.ID == "" {
				ctx.Request = c.request(r)
			}
			if c.Tenant != nil {
				ctx.Tenant = c.Tenant(r)
			}
			if c.Actor != nil {
				ctx.Actor = c.Actor(r)
			}
			w.Header().Set(c.RequestIDHeader, ctx.Request.ID)
			next.ServeHTTP(w, r.WithContext(firetrail.WithContext(r.Context(), ctx)))
		})
	}, nil
}

// WithActor returns the request with the actor added to what its events will say: for the code that has
// authenticated it, to hand on to the next handler.
func WithActor(r *http.Request, actor firetrail.Actor) *http.Request {
	ctx, _ := firetrail.FromContext(r.Context())
	ctx.Actor = actor
	return r.WithContext(firetrail.WithContext(r.Context(), ctx))
}

// WithTenant returns the request with the tenant added to what its events will say, as [WithActor] does with
// the actor.
func WithTenant(r *http.Request, tenant string) *http.Request {
	ctx, _ := firetrail.FromContext(r.Context())
	ctx.Tenant = tenant
	return r.WithContext(firetrail.WithContext(r.Context(), ctx))
}

// request is what the request says, as far as it can be believed.
func (c *Config) request(r *http.Request) firetrail.Request {
	peer, hasAddr := parseAddr(r.RemoteAddr)
	trusted := c.TrustUnixSocket && !hasAddr && isUnixSocket(r.RemoteAddr) || hasAddr && c.trusts(peer)
	client := peer
	if trusted {
		client = c.clientAddr(peer, r.Header[c.ForwardedHeader])
	}
	var out firetrail.Request
	if client.IsValid() {
		out.IP = client.String()
	}
	if ids := r.Header[c.RequestIDHeader]; trusted && len(ids) == 1 && validRequestID(ids[0]) {
		out.ID = ids[0]
	} else {
		out.ID = rand.Text()
	}
	if parents := r.Header["Traceparent"]; len(parents) == 1 {
		out.Traceparent = traceparent(parents[0])
	}
	out.UserAgent = userAgent(r.Header.Get("User-Agent"))
	return out
}
