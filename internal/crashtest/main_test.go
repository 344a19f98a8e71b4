//go:build unix

package crashtest

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if s := os.Getenv(childSetting); s != "" {
		runChild(s)
		return
	}
	goleak.VerifyTestMain(m)
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
