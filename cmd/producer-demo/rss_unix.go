//go:build unix

package main

import (
	"runtime"
	"syscall"
)

// maxRSS is the most memory the process had resident, in bytes.
func maxRSS() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return u.Maxrss // bytes there, KiB elsewhere
	}
	return int64(u.Maxrss) << 10 //nolint:unconvert // an int32 where int is
}
