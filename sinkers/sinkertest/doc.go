// Package sinkertest is the conformance kit of Sinkers, and a Sinker in memory for tests.
//
// [Run] holds a Sinker to what package sinkers promises: run it over your own.
//
//	func TestSinker(t *testing.T) {
//		sinkertest.Run(t, func(t *testing.T) sinkers.Sinker { return open(t, t.TempDir()) })
//	}
//
// [Memory] is a Sinker that passes the kit and fails on demand: it is what a test of a consumer puts in the
// database's place.
//
// The package imports nothing but the standard library and this module's own, so that it stays out
// of the way in users' tests.
package sinkertest
