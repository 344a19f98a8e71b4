//go:build unix && !linux

package wal

const mapPopulate = 0 // the ring faults its pages itself
