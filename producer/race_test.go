//go:build race

package producer

import "flag"

func init() {
	poolsLeak = true // under the race detector sync.Pool drops what it is given, at random
	// What is slow there is tried less often, unless the command line says otherwise.
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
}
