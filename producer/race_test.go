//go:build race

package producer

import "flag"

func init() {
	// What is slow there is tried less often, unless the command line says otherwise.
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
}
