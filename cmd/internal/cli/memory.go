package cli

import (
	"os"
	"runtime/debug"
)

// growth is how much the heap may grow until the garbage collector runs, in percent of what is in use: where there is a limit
// it needn't save memory below it, and of a worker's time it would take a tenth.
const growth = 400

// LimitMemory makes the garbage collector keep the heap below bytes while what is in use allows it, and has it run seldom
// below that. GOMEMLIMIT and GOGC in the environment have their way instead. It is the whole process's.
func LimitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
}
