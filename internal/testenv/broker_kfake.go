//go:build !integration

package testenv

import "testing"

// Real says whether [Broker] is a real Kafka: whether the build tag integration is set.
const Real = false

// Broker returns the addresses of a broker for this test: kfake without the build tag integration, and a
// real Kafka, which the tests of this binary share, with it. Take topics from [Topic] and names of groups
// from [Unique].
func Broker(t testing.TB) []string {
	t.Helper()
	return Kfake(t).ListenAddrs()
}
