package producer

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
)

// TestTwoProcesses has another process fire into the same directory, kills it with -9, and ships what it left.
func TestTwoProcesses(t *testing.T) {
	const variable, events = "FIRETRAIL_TEST_PRODUCER", 50
	c := cluster(t)
	cfg := small(t, c)
	if dir := os.Getenv(variable); dir != "" { // the other process
		cfg.Dir = dir
		brokersAway(&cfg)
		p := start(t, cfg)
		for i := range events {
			e := event("b", i)
			e.Entity.ID = accountKey(i)
			p.Fire(context.Background(), e)
		}
		fmt.Println("fired")
		<-within(t, time.Minute).Done()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTwoProcesses$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), variable+"="+cfg.Dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "fired\n", line)

	a := openAccount(t, cfg)
	for range events {
		a.mark(firetrail.Event{}, true)
	}
	a.elsewhere = events
	p := a.start()
	require.DirExists(t, filepath.Join(cfg.Dir, cfg.Namespace, "1"))
	a.many(p, 20)
	flush(t, p)
	require.Zero(t, p.Stats().Recovered, "what another process has is its own")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	p.wg.Go(p.adopt) // which else comes by in its own time
	require.Eventually(t, func() bool { return p.Stats().Reshipped == events }, 30*time.Second, time.Millisecond)
	require.Len(t, a.check(c.ListenAddrs()).broker, events+20)
}
