//go:build race

package producer

// Under the race detector sync.Pool drops what it is given, at random.
func init() { poolsLeak = true }
