//go:build integration && unix

package producer

import (
	"context"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
)

// onTopic is a producer's config for a topic of its own, made as wanted.
func onTopic(t *testing.T, k *testenv.Kafka, partitions int32, replicas int16, settings map[string]*string) Config {
	cfg := small(t, cluster(t))
	cfg.Kafka = kafkaclient.Config{Brokers: k.Addrs()}
	cfg.Topic = testenv.Unique(t)
	_, err := kadm.NewClient(testenv.Client(t, k.Addrs())).CreateTopic(within(t, time.Minute), partitions, replicas, settings, cfg.Topic)
	require.NoError(t, err)
	return cfg
}

// TestClusterLosesBrokers kills one broker of three, which changes nothing, and then another, whereupon nothing can be
// acknowledged, and starts both again.
func TestClusterLosesBrokers(t *testing.T) {
	k := testenv.StartKafka(t, 3)
	cfg := onTopic(t, k, 6, 3, nil)
	p := start(t, cfg)
	f := fireSteadily(p)
	shipsOn(t, p)
	k.Kill(t, 0)
	for range 10 {
		shipsOn(t, p)
	}
	k.Kill(t, 1)
	waiting(t, p, 10_000)
	k.StartAgain(t, 0)
	k.StartAgain(t, 1)
	shipsOn(t, p)
	checkArrived(t, p, p.cfg, f.end())
	require.Zero(t, p.Stats().Letters)
	require.Zero(t, p.Stats().Unprotected)
}

// TestLeaderlessPartitions kills the broker that alone has some of the partitions: they are parked, the others flow, and
// in the end everything is there.
func TestLeaderlessPartitions(t *testing.T) {
	k := testenv.StartKafka(t, 3)
	cfg := onTopic(t, k, 6, 1, nil)
	cfg.ParkAfter = 5 * time.Second
	p := start(t, cfg)
	f := fireEvery(p, 10*time.Millisecond)
	shipsOn(t, p)
	k.Kill(t, 2)
	require.Eventually(t, func() bool { return p.Stats().ParkedEvents > 3000 }, 2*time.Minute, 10*time.Millisecond)
	parked := p.Stats().Parked
	require.NotEmpty(t, parked)
	require.Less(t, len(parked), 6)
	shipsOn(t, p)
	k.StartAgain(t, 2)
	require.Eventually(t, func() bool { return len(p.Stats().Parked) == 0 }, 2*time.Minute, 10*time.Millisecond)
	shipsOn(t, p)
	checkArrived(t, p, p.cfg, f.end())
}

// TestHungLeader stops the broker that alone has some of the partitions, without its connections ending.
func TestHungLeader(t *testing.T) {
	k := testenv.StartKafka(t, 3)
	cfg := onTopic(t, k, 6, 1, nil)
	cfg.ParkAfter = 3 * time.Second
	p := start(t, cfg)
	f := fireEvery(p, 10*time.Millisecond)
	shipsOn(t, p)
	k.Pause(t, 1)
	require.Eventually(t, func() bool { return p.Stats().ParkedEvents > 1000 }, 2*time.Minute, 10*time.Millisecond)
	shipsOn(t, p)
	k.Resume(t, 1)
	require.Eventually(t, func() bool { return len(p.Stats().Parked) == 0 }, 2*time.Minute, 10*time.Millisecond)
	shipsOn(t, p)
	checkArrived(t, p, p.cfg, f.end())
}

// TestBrokersDiskFull has the broker's disk fill up, at which it ends, and starts it again when there is room.
func TestBrokersDiskFull(t *testing.T) {
	disk := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Logf("not run: a small file system can't be mounted, which takes root: %v: %s", err, out)
		return
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	k := testenv.StartKafka(t, 1, "log.dirs="+disk+"/data")
	cfg := onTopic(t, k, 4, 1, nil)
	p := start(t, cfg)
	f := fireSteadily(p)
	shipsOn(t, p)
	fill := exec.Command("dd", "if=/dev/zero", "of="+disk+"/ballast", "bs=64k")
	_ = fill.Run() // until there is no room
	waiting(t, p, 20_000)
	require.Eventually(t, func() bool { return !k.Running(0) }, 2*time.Minute, 10*time.Millisecond, "it ends when it can't write")
	require.NoError(t, exec.Command("mount", "-o", "remount,size=512m", disk).Run())
	k.StartAgain(t, 0)
	shipsOn(t, p)
	checkArrived(t, p, p.cfg, f.end())
	require.Zero(t, p.Stats().Letters)
}

// TestForbiddenForAWhile takes the permission to write away, and gives it back.
func TestForbiddenForAWhile(t *testing.T) {
	k := testenv.StartKafka(t, 1, "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found=true")
	cfg := onTopic(t, k, 4, 1, nil)
	p := start(t, cfg)
	f := fireSteadily(p)
	shipsOn(t, p)
	adm := kadm.NewClient(testenv.Client(t, k.Addrs()))
	deny := kadm.NewACLs().Topics(cfg.Topic).ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationWrite).
		Deny("User:ANONYMOUS").DenyHosts("*")
	_, err := adm.CreateACLs(within(t, 30*time.Second), deny)
	require.NoError(t, err)
	waiting(t, p, 10_000)
	_, err = adm.DeleteACLs(within(t, 30*time.Second), deny)
	require.NoError(t, err)
	shipsOn(t, p)
	checkArrived(t, p, p.cfg, f.end())
	require.Zero(t, p.Stats().Letters)
}

// TestOneTooLargeForKafka has one event among 50,000 that the topic doesn't take.
func TestOneTooLargeForKafka(t *testing.T) {
	k := testenv.SharedKafka(t)
	limit := "20000"
	cfg := onTopic(t, k, 4, 1, map[string]*string{"max.message.bytes": &limit})
	p := start(t, cfg)
	const n = 50_000
	for i := range n {
		e := event(fmt.Sprint("t", i%5), i)
		if i == n/2 {
			e.Metadata = firetrail.JSON(incompressible(30_000))
		}
		p.Fire(context.Background(), e)
	}
	require.NoError(t, p.Flush(within(t, 2*time.Minute)))
	require.EqualValues(t, n-1, p.Stats().Shipped)
	require.EqualValues(t, 1, p.Stats().Letters)
	require.NoError(t, shut(p, 20*time.Second))
	last := map[string]uint64{}
	events := consume(t, cfg.Kafka.Brokers, cfg.Topic)
	require.Len(t, events, n-1)
	for _, e := range events {
		require.Greater(t, e.Seq, last[e.Tenant], "each once, and in order")
		last[e.Tenant] = e.Seq
	}
}

// TestPartitionsMove has every partition move to another broker, and back, under way.
func TestPartitionsMove(t *testing.T) {
	k := testenv.StartKafka(t, 3)
	cfg := onTopic(t, k, 6, 1, nil)
	p := start(t, cfg)
	f := fireSteadily(p)
	shipsOn(t, p)
	adm := kadm.NewClient(testenv.Client(t, k.Addrs()))
	for round := range int32(3) {
		var move kadm.AlterPartitionAssignmentsReq
		for partition := range int32(6) {
			move.Assign(cfg.Topic, partition, []int32{1 + (partition+round)%3})
		}
		_, err := adm.AlterPartitionAssignments(within(t, time.Minute), move)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			topics, err := adm.ListTopics(within(t, 10*time.Second), cfg.Topic)
			if err != nil || len(topics[cfg.Topic].Partitions) != 6 {
				return false
			}
			for _, d := range topics[cfg.Topic].Partitions {
				if d.Leader != 1+(d.Partition+round)%3 {
					return false
				}
			}
			return true
		}, time.Minute, 20*time.Millisecond)
		shipsOn(t, p)
	}
	checkArrived(t, p, p.cfg, f.end())
	require.Zero(t, p.Stats().Letters)
}
