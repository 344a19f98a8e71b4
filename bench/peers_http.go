package main

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/posthog/posthog-go"
	"github.com/segmentio/analytics-go/v3"
)

// collectors are the clients of services that take events by HTTP, which keep them in memory until then. Here each
// request is answered at once, without a network.
func collectors(e *sample) ([]candidate, error) {
	segment, err := analytics.NewWithConfig("key", analytics.Config{Transport: answers{}, Logger: silent{}, Interval: 20 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	hog, err := posthog.NewWithConfig("key", posthog.Config{Transport: answers{}, Logger: silent{}, Interval: 20 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	return []candidate{
		{name: "segment Enqueue", kind: inMemory, close: segment.Close, fire: func() {
			_ = segment.Enqueue(analytics.Track{UserId: e.actor, Event: e.action, Properties: analytics.Properties{
				"tenant": e.tenant, "entity": e.entity, "old": e.beforeJSON, "new": e.afterJSON, "ip": e.ip, "user_agent": e.agent, "request_id": e.request,
			}})
		}},
		{name: "posthog Enqueue", kind: inMemory, close: hog.Close, fire: func() {
			_ = hog.Enqueue(posthog.Capture{DistinctId: e.actor, Event: e.action, Properties: posthog.Properties{
				"tenant": e.tenant, "entity": e.entity, "old": e.beforeJSON, "new": e.afterJSON, "ip": e.ip, "user_agent": e.agent, "request_id": e.request,
			}})
		}},
	}, nil
}

// answers is a transport that says 200 to everything.
type answers struct{}

// RoundTrip implements http.RoundTripper.
func (answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: io.NopCloser(strings.NewReader("{}")), Header: http.Header{}, Request: r}, nil
}

type silent struct{}

func (silent) Logf(string, ...any)   {}
func (silent) Errorf(string, ...any) {}
func (silent) Debugf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
