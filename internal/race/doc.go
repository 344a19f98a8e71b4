// Package race says to tests whether the race detector watches, under which everything takes several times as long and
// sync.Pool drops what it is given at random. A test that tries every place of something tries a sample of them then: the
// detector looks for races, and the same code runs at each.
package race

// Stride returns n under the race detector, and else 1: a loop over every place takes each nth.
func Stride(n int) int {
	if Enabled {
		return n
	}
	return 1
}
