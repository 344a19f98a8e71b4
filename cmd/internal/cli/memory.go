package cli

import (
	"os"
	"runtime/debug"
)

// LimitMemory makes the garbage collector keep the heap below bytes while what is in use allows it, rather
// than let it grow to twice that. GOMEMLIMIT in the environment has its way instead. It is
// the whole process's.
func LimitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}
