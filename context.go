package firetrail

import "context"

// Context is what a request gives to every event fired in it. Explicit fields of an event win.
type Context struct {
	Tenant  string
	Actor   Actor
	Request Request
}

type contextKey struct{}

// WithContext returns a context that carries c for every event fired with it. A middleware calls it
// once a request (see package httpaudit); code that learns more later, such as who the user is, calls
// it again with what [FromContext] returned, changed.
func WithContext(ctx context.Context, c Context) context.Context {
	return context.WithValue(ctx, contextKey{}, &c)
}

// FromContext returns what [WithContext] put into ctx, and whether there was any. A nil ctx has none.
func FromContext(ctx context.Context) (Context, bool) {
	if c := contextOf(ctx); c != nil {
		return *c, true
	}
	return Context{}, false
}

// FillFrom fills in what the event left empty from what ctx carries, as [Event.WithContext] does, in place.
// It is what Fire does first.
func (e *Event) FillFrom(ctx context.Context) { e.fill(contextOf(ctx)) }

func contextOf(ctx context.Context) *Context {
	if ctx == nil {
		return nil
	}
	c, _ := ctx.Value(contextKey{}).(*Context)
	return c
}
