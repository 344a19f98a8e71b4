package consumer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/race"
)

// topicOfLetters returns, by letter id, how many records of it the topic has with its bytes, and without.
func (w *world) topicOfLetters() (whole, stubs map[string]int) {
	w.t.Helper()
	whole, stubs = map[string]int{}, map[string]int{}
	for l, err := range dlq.ReadTopic(w.t.Context(), testLetters, kgo.SeedBrokers(w.broker), kgo.Dialer(w.dial)) {
		require.NoError(w.t, err)
		if l.Value == nil {
			stubs[l.ID]++
		} else {
			whole[l.ID]++
		}
	}
	return whole, stubs
}

// lettersIn returns, by letter id, how often a directory has it, and what it says the topic has.
func lettersIn(t *testing.T, d *dlq.Dir) (times map[string]int, copies map[string]dlq.Copy) {
	t.Helper()
	times, copies = map[string]int{}, map[string]dlq.Copy{}
	for l, err := range d.Find(t.Context(), func(string) bool { return true }) {
		require.NoError(t, err)
		times[l.ID]++
		copies[l.ID] = l.Copied
	}
	return times, copies
}

func (w *world) topicID() [16]byte {
	w.t.Helper()
	topics, err := w.adm().ListTopics(w.t.Context(), testTopic)
	require.NoError(w.t, err)
	return topics[testTopic].ID
}

// large returns a record that is no event and does not compress.
func large() *kgo.Record {
	r := garbage()
	r.Value = make([]byte, 20_000)
	for i := range r.Value {
		r.Value[i] = byte(rand.Uint32())
	}
	return r
}

func (w *world) limitLetters(bytes string) {
	w.t.Helper()
	_, err := w.adm().AlterTopicConfigs(w.t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: kadm.StringPtr(bytes)}}, testLetters)
	require.NoError(w.t, err)
}

// slowConn takes its time for what is as large as letters are.
type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (int, error) {
	if len(b) > 10_000 {
		pass(3 * time.Second)
	}
	return c.Conn.Write(b)
}

// trouble of a form returns what mends it.
type trouble func(t *testing.T, w *world, d *dlq.Dir, path string) (mend func())

// Each way that topic and directory may fare, together: nothing is committed before its letter is safe, good events go
// on, and in the end each letter is once in the directory and once in the topic, under one id.
func TestLettersInTrouble(t *testing.T) {
	const bad, good, room = 30, 20, 1 << 20
	well := func(*testing.T, *world, *dlq.Dir, string) func() { return func() {} }
	topics := map[string]trouble{
		"well": well,
		"away": func(_ *testing.T, w *world, _ *dlq.Dir, _ string) func() {
			return w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: testLetters, Err: kerr.NotEnoughReplicas, Count: -1}).Remove
		},
		"slow": well, // see slowConn
		"too small": func(_ *testing.T, w *world, _ *dlq.Dir, _ string) func() {
			w.limitLetters("10000")
			return func() {}
		},
	}
	dirs := map[string]trouble{
		"well": well,
		"full": func(t *testing.T, _ *world, d *dlq.Dir, _ string) func() {
			require.NoError(t, d.Put(t.Context(), dlq.Waiting, []dlq.Letter{{ID: "first", Value: bytes.Repeat([]byte("x"), room-20_000)}}))
			return func() {
				res, err := d.Purge(t.Context(), dlq.Purge{Waiting: true, Match: func(l *dlq.Letter) bool { return l.ID == "first" }})
				require.NoError(t, err)
				require.Equal(t, 1, res.Letters)
			}
		},
		"failing": func(t *testing.T, _ *world, _ *dlq.Dir, path string) func() {
			require.NoError(t, os.Rename(path, path+".away"))
			return func() { require.NoError(t, os.Rename(path+".away", path)) }
		},
	}
	for topic, troubleTopic := range topics {
		for dir, troubleDir := range dirs {
			for _, durable := range []bool{false, true} {
				if race.Enabled && durable && topic != "away" { // where it makes no difference
					continue
				}
				t.Run(fmt.Sprintf("topic %s, directory %s, durable %v", topic, dir, durable), func(t *testing.T) {
					inWorld(t, 1, func(t *testing.T, w *world) {
						path := filepath.Join(t.TempDir(), "dlq")
						d, err := dlq.OpenDir(dlq.DirConfig{Path: path, MaxBytes: room, MaxScans: -1})
						require.NoError(t, err)
						defer d.Close()
						mendDir := troubleDir(t, w, d, path)
						w.events(good/2, 0)
						records := make([]*kgo.Record, bad)
						for i := range records {
							records[i] = large()
						}
						w.produce(records...)
						w.events(good/2, 0)
						mendTopic := troubleTopic(t, w, d, path)
						r := w.start(func(c *Config) {
							c.LetterDir, c.DirIsDurable = d, durable
							if dial := c.Kafka.Dial; topic == "slow" {
								c.Kafka.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
									conn, err := dial(ctx, network, addr)
									return slowConn{conn}, err
								}
							}
						})
						w.await("good events", func() bool { return w.sink.Len() == good })
						pass(2 * time.Minute)
						takes := dir == "well"
						safe := topic == "well" || topic == "slow" || topic == "too small" && takes || topic == "away" && takes && durable
						if safe {
							require.EqualValues(t, bad+good, w.committed(0))
						} else {
							require.EqualValues(t, good/2, w.committed(0), "no offset passes a letter that is nowhere safe")
						}
						mendTopic()
						mendDir()
						w.awaitCommitted(0, bad+good)
						w.await("both forms", func() bool { return r.Stats().LateLetters == 0 && !d.Uncopied() })
						r.stop()

						s := r.Stats()
						require.Equal(t, map[string]int64{dlq.ReasonUndecodable: bad}, s.Letters)
						require.Zero(t, s.HalfLetters)
						whole, stubs := w.topicOfLetters()
						inDir, copies := lettersIn(t, d)
						want := map[string]int{}
						for i := range bad {
							want[dlq.OriginID(w.topicID(), 0, int64(good/2+i))] = 1
						}
						require.Equal(t, want, inDir)
						copied := dlq.WholeCopy
						if topic == "too small" {
							require.Equal(t, want, stubs)
							require.Empty(t, whole)
							copied = dlq.StubCopy
						} else {
							require.Equal(t, want, whole)
							require.Empty(t, stubs)
						}
						for id, c := range copies {
							require.Equal(t, copied, c, id)
						}
						require.Equal(t, topic == "away", s.TopicErrors > 0)
						require.Equal(t, dir != "well", s.DirErrors > 0)
					})
				})
			}
		}
	}
}
