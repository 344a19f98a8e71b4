package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
)

// letterBox is a directory and a topic of letters, and the topic that they came from.
type letterBox struct {
	t              *testing.T
	addrs          []string
	dir            string
	events, topic  string
	dirFlag, flags []string
}

func newLetterBox(t *testing.T) *letterBox {
	t.Helper()
	b := &letterBox{t: t, addrs: testenv.Broker(t), dir: filepath.Join(t.TempDir(), "dlq")}
	b.events, b.topic = testenv.Topic(t, b.addrs, 3), testenv.Topic(t, b.addrs, 2)
	b.dirFlag = []string{"--dir=" + b.dir}
	b.flags = []string{b.dirFlag[0], "--brokers=" + strings.Join(b.addrs, ","), "--topic=" + b.topic}
	return b
}

// letters returns n letters of events that this test's trail has, of two tenants.
func (b *letterBox) letters(from, to int) []dlq.Letter {
	var ls []dlq.Letter
	for i, e := range trail(to)[from:] {
		value, err := e.AppendCloudEvent(nil)
		require.NoError(b.t, err)
		ls = append(ls, dlq.Letter{
			ID: "letter-" + strconv.Itoa(from+i), Tenant: e.Tenant, Reason: dlq.ReasonRefused, Error: "no\x1b[2Jspace", Stage: "write",
			Attempts: 4, FirstFailed: e.Time, Topic: b.events, Partition: 1, Offset: int64(from + i), Time: e.Time,
			Key: []byte(e.Tenant), Value: value, Headers: []dlq.Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}},
		})
	}
	return ls
}

func (b *letterBox) put(k dlq.Kind, ls []dlq.Letter) {
	b.t.Helper()
	d, err := dlq.OpenDir(dlq.DirConfig{Path: b.dir})
	require.NoError(b.t, err)
	require.NoError(b.t, d.Put(b.t.Context(), k, ls))
	require.NoError(b.t, d.Close())
}

func (b *letterBox) send(ls []dlq.Letter) {
	b.t.Helper()
	require.NoError(b.t, dlq.NewTopic(testenv.Client(b.t, b.addrs), b.topic).Put(b.t.Context(), ls))
}

// dlq runs a dlq command and returns its lines.
func (b *letterBox) dlq(args ...string) []string {
	b.t.Helper()
	out, stderr, code := sinkWorker(b.t, environment(), append([]string{"dlq"}, args...)...)
	require.Equal(b.t, cli.Done, code, stderr)
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

// list returns the letters of dlq list, by id.
func (b *letterBox) list(args ...string) (ids []string, byID map[string]letterLine) {
	b.t.Helper()
	byID = map[string]letterLine{}
	for _, line := range b.dlq(append([]string{"list", "-o=json"}, args...)...) {
		if line == "" {
			continue
		}
		var l letterLine
		require.NoError(b.t, json.Unmarshal([]byte(line), &l))
		ids, byID[l.ID] = append(ids, l.ID), l
	}
	return ids, byID
}

// redriven returns the letter ids of the records in the topic of events, with how often each is there.
func (b *letterBox) redriven() map[string]int {
	b.t.Helper()
	cl := testenv.Client(b.t, b.addrs, kgo.ConsumeTopics(b.events), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(b.t.Context(), b.events)
	require.NoError(b.t, err)
	var want int64
	ends.Each(func(o kadm.ListedOffset) { want += o.Offset })
	got := map[string]int{}
	for n := int64(0); n < want; {
		fetches := cl.PollFetches(b.t.Context())
		require.NoError(b.t, fetches.Err())
		for _, r := range fetches.Records() {
			n++
			for _, h := range r.Headers {
				if h.Key == dlq.HeaderLetterID {
					got[string(h.Value)]++
				}
			}
		}
	}
	return got
}

func TestDLQCommands(t *testing.T) {
	b := newLetterBox(t)
	all := b.letters(0, 12)
	all[3].Value, all[3].Reason = []byte{0xff, 0}, dlq.ReasonUndecodable
	b.put(dlq.Dead, all[:6])
	b.put(dlq.Waiting, all[6:8])
	b.send(all[3:7])
	b.send(all[8:12])

	ids, byID := b.list(b.flags...)
	require.Len(t, ids, 12)
	require.Equal(t, "letter-11", ids[0], "the newest first")
	require.Equal(t, "waiting", byID["letter-6"].State)
	require.True(t, byID["letter-3"].InTopic)
	require.NotEmpty(t, byID["letter-3"].File)
	require.Equal(t, "dead", byID["letter-11"].State)
	ids, _ = b.list(append(b.flags, "--tenant=globex", "--since=2023-07-10T11:42:20Z", "--until=2023-07-10T11:42:28Z", "--reason=refused")...)
	require.Equal(t, []string{"letter-9", "letter-7", "letter-5"}, ids)
	ids, _ = b.list(append(b.flags, "--origin-topic="+b.events, "--origin-partition=1")...)
	require.Len(t, ids, 12)
	ids, _ = b.list(append(b.flags, "--origin-partition=2")...)
	require.Empty(t, ids)
	ids, _ = b.list(append(b.flags, "--origin-topic=other")...)
	require.Empty(t, ids)
	_, refused, status := sinkWorker(t, environment(), append([]string{"dlq", "list", "--origin-partition=one"}, b.flags...)...)
	require.Equal(t, cli.Usage, status)
	require.Contains(t, refused, `origin-partition: "one" is not the number of a partition`)
	ids, _ = b.list(append(b.dirFlag, "--limit=2")...)
	require.Equal(t, []string{"letter-7", "letter-6"}, ids)
	table := b.dlq(append([]string{"list"}, b.flags...)...)
	require.Len(t, table, 13)
	require.NotContains(t, strings.Join(table, ""), "\x1b")

	var whole struct {
		letterLine
		Key   string
		Value any
		Event map[string]any
		Not   string `json:"not_an_event"`
	}
	show := func(id string) {
		require.NoError(t, json.Unmarshal([]byte(strings.Join(b.dlq(append([]string{"show", id, "-o=json"}, b.flags...)...), "")), &whole))
	}
	show("letter-3")
	require.Equal(t, map[string]any{"base64": "/wA="}, whole.Value)
	require.NotEmpty(t, whole.Not)
	show("letter-11")
	require.Equal(t, string(all[11].Value), whole.Value)
	require.Equal(t, "globex", whole.Event["tenantid"])
	text := strings.Join(b.dlq(append([]string{"show", "letter-11"}, b.flags...)...), "\n")
	require.Contains(t, text, "content-type: application/cloudevents+json")
	require.Contains(t, text, fmt.Sprintf("%s[1]@11", b.events))
	require.NotContains(t, text, "\x1b")
	_, stderr, code := sinkWorker(t, environment(), append([]string{"dlq", "show", "nosuch"}, b.flags...)...)
	require.Equal(t, cli.Failed, code)
	require.Contains(t, stderr, `there is no letter "nosuch"`)

	lines := b.dlq(append([]string{"redrive", "--dry-run", "--tenant=acme"}, b.flags...)...)
	require.Contains(t, lines, "would send letter-0 to "+b.events)
	require.Empty(t, b.redriven())
	b.dlq(append([]string{"redrive", "--limit=3"}, b.flags...)...)
	require.Len(t, b.redriven(), 3)
	lines = b.dlq(append([]string{"redrive"}, b.flags...)...)
	require.Equal(t, []string{"sent", "already-sent", "waiting"}, firsts(lines))
	got := b.redriven()
	require.Len(t, got, 10)
	for id, n := range got {
		require.Equal(t, 1, n, id)
	}
	_, byID = b.list(b.flags...)
	require.Equal(t, "redriven", byID["letter-0"].State)
	require.Equal(t, b.events, byID["letter-0"].Redriven.Topic)

	lines = b.dlq(append([]string{"purge", "--dry-run", "--redriven"}, b.flags...)...)
	require.Equal(t, "would delete  6  letters from files", lines[0])
	_, stderr, code = sinkWorker(t, environment(), append(append([]string{"dlq", "purge", "--yes"}, b.flags...), "--letter-topic=misspelt")...)
	require.Equal(t, cli.Failed, code)
	require.Contains(t, stderr, "purging topic misspelt: there is no such topic")
	_, byID = b.list(b.flags...)
	require.NotEmpty(t, byID["letter-0"].File, "no file is deleted either")
	b.dlq(append([]string{"purge", "--yes"}, b.flags...)...)
	ids, byID = b.list(b.flags...)
	require.ElementsMatch(t, []string{"letter-6", "letter-7"}, keysBut(byID, b.behind(byID)))
	require.Equal(t, "waiting", byID["letter-7"].State, "%v", ids)
	b.dlq(append([]string{"purge", "--yes", "--waiting"}, b.flags...)...)
	ids, _ = b.list(b.flags...)
	require.Empty(t, ids)
}

// behind are the letters that Kafka could not delete, since one that waits lies before them.
func (b *letterBox) behind(byID map[string]letterLine) map[string]bool {
	out := map[string]bool{}
	for id, l := range byID {
		if l.File == "" && l.Tenant == "acme" { // as letter-6, which is in the topic
			out[id] = true
		}
	}
	return out
}

func keysBut(m map[string]letterLine, but map[string]bool) (out []string) {
	for k := range m {
		if !but[k] {
			out = append(out, k)
		}
	}
	return out
}

func firsts(lines []string) (out []string) {
	for _, l := range lines {
		out = append(out, strings.Fields(l)[0])
	}
	return out
}

// Letters of Kafka Connect, Spring and Kafka Streams are listed, shown and redriven like our own.
func TestDLQForeign(t *testing.T) {
	b := newLetterBox(t)
	l := b.letters(0, 1)[0]
	header := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
	kept := header("content-type", "application/cloudevents+json")
	for i, foreign := range [][]kgo.RecordHeader{
		{header("__connect.errors.topic", b.events), header("__connect.errors.partition", "1"), header("__connect.errors.offset", "7"), header("__connect.errors.exception.class.name", "org.apache.kafka.connect.errors.DataException")},
		{header("kafka_dlt-original-topic", b.events), header("kafka_dlt-original-partition", "\x00\x00\x00\x01"), header("kafka_dlt-original-offset", "\x00\x00\x00\x00\x00\x00\x00\x08"), header("kafka_dlt-exception-fqcn", "spring")},
		{header("__streams.errors.topic", b.events), header("__streams.errors.partition", "1"), header("__streams.errors.offset", "9"), header("__streams.errors.exception", "streams")},
	} {
		rec := &kgo.Record{Topic: b.topic, Key: l.Key, Value: l.Value, Headers: append([]kgo.RecordHeader{kept}, foreign...)}
		require.NoError(t, testenv.Client(t, b.addrs).ProduceSync(t.Context(), rec).FirstErr(), i)
	}
	flags := b.flags[1:]
	journal := "--journal=" + filepath.Join(t.TempDir(), "j")
	ids, byID := b.list(append(flags, journal, "--since=1h")...)
	require.ElementsMatch(t, []string{b.events + ":1:7", b.events + ":1:8", b.events + ":1:9"}, ids)
	require.Equal(t, "spring", byID[b.events+":1:8"].Reason)
	require.Equal(t, "acme", byID[b.events+":1:8"].Tenant)
	require.Contains(t, strings.Join(b.dlq(append([]string{"show", ids[0], journal}, flags...)...), "\n"), "iam.CreateUser of 2023-07-10")
	b.dlq(append([]string{"redrive", journal}, flags...)...)
	require.Len(t, b.redriven(), 3)
}

// A redrive that is killed with -9 goes on where it was: what it knows to have sent it doesn't send again.
func TestRedriveKilled(t *testing.T) {
	const n, rate = 600, 100
	b := newLetterBox(t)
	b.put(dlq.Dead, b.letters(0, n))
	args := append([]string{"dlq", "redrive", "--rate=" + strconv.Itoa(rate)}, b.flags...)
	p := start(t, args...)
	known := func() map[string]dlq.Redriven {
		sent, err := dlq.ReadJournal(filepath.Join(b.dir, "redriven.journal"))
		require.NoError(t, err)
		return sent
	}
	require.Eventually(t, func() bool { return len(known()) >= rate }, time.Minute, time.Millisecond, "%s", &p.logs)
	require.NoError(t, p.Process.Kill())
	require.Error(t, <-p.ended)
	before := known()
	require.Less(t, len(before), n, "it was killed in the middle")

	args[2] = "--rate=0"
	out, stderr, code := sinkWorker(t, environment(), args...)
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, fmt.Sprintf("already-sent  %d", len(before)))
	got := b.redriven()
	require.Len(t, got, n)
	twice := 0
	for id, times := range got {
		if _, ok := before[id]; ok {
			require.Equal(t, 1, times, "%s was known to be sent", id)
		}
		twice += times - 1
	}
	require.LessOrEqual(t, twice, rate, "what was under way")
}
