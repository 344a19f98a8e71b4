// Package backend holds what the sinks of every database do alike, whatever their database speaks: letting calls in until
// the sink is closed, giving out what is read as an iterator, the bounds of ids, and values as text.
package backend
