//go:build integration

package testenv

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Kcat runs kcat, a Kafka client that none of us made, against the brokers and returns what it printed. It
// must be installed; Debian's package is called kcat.
func Kcat(t testing.TB, addrs []string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("kcat")
	require.NoError(t, err, "the integration tests need kcat: install it (Debian: apt-get install kcat)")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{"-b", strings.Join(addrs, ",")}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "kcat: %s", &errs)
	return out.String()
}
