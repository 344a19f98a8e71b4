package dlq

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// A process that is killed with -9 in the middle of a delivery: while it lives its tenant is left alone,
// and then everything is delivered by another, what it had delivered once more at the worst.
func TestKilledProcess(t *testing.T) {
	const variable = "FIRETRAIL_TEST_DLQ"
	if path := os.Getenv(variable); path != "" { // the process to be killed
		d, err := OpenDir(DirConfig{Path: path})
		require.NoError(t, err)
		require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 3)))
		_, _ = d.Retry(t.Context(), func(ctx context.Context, _ []Letter) []Outcome {
			fmt.Println("delivering")
			<-ctx.Done()
			return nil
		})
		return
	}
	path := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), variable+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "delivering\n", line)

	d := openDir(t, DirConfig{Path: path})
	require.NoError(t, d.Put(t.Context(), Waiting, append(letters("a", 3, 4), letters("b", 0, 1)...)))
	var x destination
	res, err := d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 1, Delivered: 1, Busy: 1}, res)
	require.Equal(t, []string{"b-0"}, x.ids())

	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	res, err = d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 2, Delivered: 4, Recovered: 1}, res)
	require.Equal(t, []string{"b-0", "a-0", "a-1", "a-2", "a-3"}, x.ids())
	require.Empty(t, names(t, path))
}
