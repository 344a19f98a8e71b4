package testenv

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// Disconnect waits until the client library is done with what it does behind Close's back, where it ends a stream
// in a goroutine of its own, and closes the connections of [http.DefaultClient] that it leaves. For the end of tests
// that look for leaks.
func Disconnect() error {
	stacks := make([]byte, 1<<20)
	tick, end := time.NewTicker(10*time.Millisecond), time.After(5*time.Second)
	defer tick.Stop()
	for {
		http.DefaultClient.CloseIdleConnections()
		all := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(all, "/libsql-client-go/") && !strings.Contains(all, "net/http.(*persistConn)") {
			return nil
		}
		select {
		case <-tick.C:
		case <-end:
			return errors.New("the client of libSQL still has connections after 5 s")
		}
	}
}
