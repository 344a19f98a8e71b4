//go:build integration && unix

package testenv

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The script that runs the brokers, also by hand, and the class path that Maven reads.
var (
	//go:embed kafka/kafka.sh
	kafkaScript []byte
	//go:embed kafka/pom.xml
	kafkaPOM []byte

	kafkaVersion = regexp.MustCompile(`<kafka.version>([0-9.]+)</kafka.version>`)
)

// installKafka returns the directory of Kafka's jars. Its last step starts a broker and stops it in good
// order, whereby the Java machine writes an archive of its classes that halves the later starts.
func installKafka() (string, error) {
	if _, err := exec.LookPath("java"); err != nil && os.Getenv("JAVA_HOME") == "" {
		return "", errors.New("the integration tests need Java 17 or later for Apache Kafka: install a JDK, " +
			"or run the tests without -tags integration")
	}
	version := kafkaVersion.FindSubmatch(kafkaPOM)
	if version == nil {
		return "", errors.New("kafka/pom.xml gives no kafka.version")
	}
	return cached("kafka-"+string(version[1]), func(lib string) error {
		if _, err := exec.LookPath("mvn"); err != nil {
			return errors.New("the integration tests need Maven to install Apache Kafka: install it, " +
				"or run the tests without -tags integration")
		}
		k, err := newKafka(1, lib, "", nil)
		if err != nil {
			return err
		}
		defer k.remove()
		if err := k.script("install", k.dir); err != nil {
			return err
		}
		if err := k.start(); err != nil {
			return err
		}
		return k.script("stop", k.dir)
	})
}

// startKafka installs Kafka when it isn't there, and starts a cluster.
func startKafka(brokers int, secure string, props []string) (*Kafka, error) {
	lib, err := installKafka()
	if err != nil {
		return nil, err
	}
	k, err := newKafka(brokers, lib, secure, props)
	if err != nil {
		return nil, err
	}
	if err := k.start(); err != nil {
		k.remove()
		return nil, err
	}
	return k, nil
}

// newKafka makes the directory of a cluster that isn't running yet, and the guard that clears it away.
func newKafka(brokers int, lib, secure string, props []string) (*Kafka, error) {
	dir, err := os.MkdirTemp("", "firetrail-kafka-")
	if err != nil {
		return nil, err
	}
	k := &Kafka{dir: dir, lib: lib, secure: secure, props: strings.Join(props, "\n"), brokers: brokers}
	for name, content := range map[string][]byte{"kafka.sh": kafkaScript, "pom.xml": kafkaPOM} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	k.alive, err = Guard(dir, kafkaGuard)
	return k, err
}

// start picks the ports and starts the brokers. Another process may take a port in between: then others
// are tried.
func (k *Kafka) start() error {
	var err error
	for range 3 {
		if k.base, err = freePorts(3 * k.brokers); err != nil {
			return err
		}
		err = k.script("start-cluster", k.dir, strconv.Itoa(k.brokers), strconv.Itoa(k.base))
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%w\n%s", err, k.tail())
		_ = k.script("kill", k.dir)
		for i := range k.brokers {
			_ = os.RemoveAll(k.node(i))
		}
	}
	return err
}

// kafkaGuard kills the brokers, and looks again for a while, because a start that was under way goes on.
const kafkaGuard = `for i in 1 2 3 4 5; do
		[[ -d $1 ]] || exit
		bash "$1/kafka.sh" kill "$1"
		sleep 1
	done
	rm -rf "$1"`

// script runs kafka.sh.
func (k *Kafka) script(args ...string) error {
	cmd := exec.Command("bash", append([]string{filepath.Join(k.dir, "kafka.sh")}, args...)...)
	cmd.Env = append(os.Environ(), "KAFKA_WAIT=300", "KAFKA_LIB="+k.lib, "KAFKA_PROPS="+k.props, "KAFKA_SECURE="+k.secure)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("kafka.sh %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// freePorts returns the first of n consecutive ports that are free now. They lie below those that the
// system gives to outgoing connections, so that none of ours takes one.
func freePorts(n int) (int, error) {
	for range 100 {
		base := 20000 + rand.IntN(10000)
		if allFree(base, n) {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row between 20000 and 30000", n)
}

func allFree(base, n int) bool {
	for port := base; port < base+n; port++ {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
