//go:build !(integration && unix)

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "worker: it needs the servers of the integration suite: go run -tags integration ./worker, on a Unix")
	os.Exit(2)
}
