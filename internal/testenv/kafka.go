//go:build integration && unix

package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Kafka is a real Apache Kafka of one or more brokers on loopback, each a process of its own. A test calls
// its methods one at a time.
type Kafka struct {
	dir     string // of the script, the brokers' data and logs
	lib     string // of the jars
	props   string
	secure  string // protocol of the secure listener; "" for none
	brokers int
	base    int      // port of the first broker
	alive   *os.File // closed by the end of this process, whereupon the guard kills the brokers
}

// StartKafka starts a cluster of its own for this test, and kills it when the test ends. props are further
// lines of server.properties, which win over what is there: one broker keeps one copy, two or more keep up
// to three, of which all but one must be in sync. Topics are not made by themselves.
//
// A broker takes some 4 s to start and half a GB of memory: use [SharedKafka] where nothing is broken.
func StartKafka(t testing.TB, brokers int, props ...string) *Kafka {
	t.Helper()
	k, err := startKafka(brokers, "", props)
	require.NoError(t, err)
	t.Cleanup(k.remove)
	return k
}

// StartSecureKafka is [StartKafka] with one broker that has a second listener, named SECURE, at
// [Kafka.SecureAddrs]. protocol is Kafka's word for what it speaks: SSL, SASL_PLAINTEXT or SASL_SSL; keys and
// mechanisms are set by props.
func StartSecureKafka(t testing.TB, protocol string, props ...string) *Kafka {
	t.Helper()
	k, err := startKafka(1, protocol, props)
	require.NoError(t, err)
	t.Cleanup(k.remove)
	return k
}

var shared struct {
	once  sync.Once
	kafka *Kafka
	err   error
}

// SharedKafka returns the single broker that the tests of this binary share. It is started by the first
// to ask, and goes when the binary ends, however that ends.
func SharedKafka(t testing.TB) *Kafka {
	t.Helper()
	shared.once.Do(func() { shared.kafka, shared.err = startKafka(1, "", nil) })
	require.NoError(t, shared.err)
	return shared.kafka
}

// Addrs returns the brokers' addresses, as host:port, in their order.
func (k *Kafka) Addrs() []string { return k.addrs(k.base) }

// SecureAddrs returns the addresses of the secure listeners; see [StartSecureKafka].
func (k *Kafka) SecureAddrs() []string { return k.addrs(k.base + 2*k.brokers) }

func (k *Kafka) addrs(base int) []string {
	addrs := make([]string, k.brokers)
	for i := range addrs {
		addrs[i] = "127.0.0.1:" + strconv.Itoa(base+i)
	}
	return addrs
}

// Kill ends broker i, counted from 0 as in [Kafka.Addrs], with SIGKILL. It returns when its ports
// are free.
func (k *Kafka) Kill(t testing.TB, i int) {
	t.Helper()
	k.signal(t, i, syscall.SIGKILL)
	require.Eventually(t, func() bool { return allFree(k.base+i, 1) && allFree(k.base+k.brokers+i, 1) },
		30*time.Second, 20*time.Millisecond, "broker %d holds its ports", i)
}

// Pause stops broker i with SIGSTOP: its connections stay open, and nothing answers.
func (k *Kafka) Pause(t testing.TB, i int) {
	t.Helper()
	pid := k.signal(t, i, syscall.SIGSTOP)
	require.Eventually(t, func() bool { return stopped(pid) }, 30*time.Second, 10*time.Millisecond, "broker %d goes on", i)
}

// Resume lets broker i go on after [Kafka.Pause].
func (k *Kafka) Resume(t testing.TB, i int) { t.Helper(); k.signal(t, i, syscall.SIGCONT) }

// StartAgain starts broker i after [Kafka.Kill], on the data it had, and returns when it answers. That
// needs most of the cluster's brokers up: they elect the controller.
func (k *Kafka) StartAgain(t testing.TB, i int) {
	t.Helper()
	require.Less(t, i, k.brokers)
	require.NoError(t, k.Restart(i))
}

// Restart is [Kafka.StartAgain] for a goroutine of its own: meanwhile the other brokers may be killed, paused and started.
func (k *Kafka) Restart(i int) error {
	err := k.script("start-node", k.dir, strconv.Itoa(i+1), strconv.Itoa(k.brokers), strconv.Itoa(k.base))
	if err != nil {
		return fmt.Errorf("%w\n%s", err, k.tail())
	}
	return nil
}

// Running says whether broker i is a process: it may have ended by itself.
func (k *Kafka) Running(i int) bool {
	b, err := os.ReadFile(filepath.Join(k.node(i), "pid"))
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return err == nil && syscall.Kill(pid, 0) == nil
}

func (k *Kafka) signal(t testing.TB, i int, s syscall.Signal) (pid int) {
	t.Helper()
	require.Less(t, i, k.brokers)
	b, err := os.ReadFile(filepath.Join(k.node(i), "pid"))
	require.NoError(t, err)
	pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, s), "broker %d isn't running", i)
	return pid
}

func (k *Kafka) node(i int) string { return filepath.Join(k.dir, fmt.Sprintf("node-%d", i+1)) }

// remove ends the brokers and their data.
func (k *Kafka) remove() {
	_ = k.script("kill", k.dir)
	_ = k.alive.Close() // the guard removes the directory too, but we wait for it
	_ = os.RemoveAll(k.dir)
}

// tail is the end of the brokers' logs, for the message of a test that failed.
func (k *Kafka) tail() string {
	var out strings.Builder
	for i := range k.brokers {
		b, err := os.ReadFile(filepath.Join(k.node(i), "log"))
		if err == nil {
			fmt.Fprintf(&out, "the end of broker %d's log:\n%s\n", i, b[max(0, len(b)-2000):])
		}
	}
	return out.String()
}
