package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// brokerArgument makes this program a broker, so that its work is not counted as the clients'.
const brokerArgument = "broker-of-the-benchmark"

// broker is that process.
type broker struct {
	addr string
	cmd  *exec.Cmd
	in   io.Closer // closed, it ends
}

func startBroker() (*broker, error) {
	b := &broker{cmd: exec.Command(os.Args[0], brokerArgument)}
	b.cmd.Stderr = os.Stderr
	var err error
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("starting the broker: %w", err)
	}
	b.addr = strings.TrimSpace(line)
	return b, nil
}

func (b *broker) stop() {
	_ = b.in.Close()
	_ = b.cmd.Wait()
}

func runBroker() {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(12, topic))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, c.ListenAddrs()[0])
	_, _ = io.Copy(io.Discard, os.Stdin)
	c.Close()
}
