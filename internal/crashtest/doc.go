// Package crashtest holds the tests that put the producer through what a host and a broker can do to it, from
// the outside: through its public API, and in processes of their own that are killed. It has no code but tests.
//
// The short forms run with the others. The long ones are `make crash`; FIRETRAIL_KILL_ROUNDS says how many kills.
package crashtest
