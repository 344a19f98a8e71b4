package firetrail_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
)

func TestReadBinaryHead(t *testing.T) {
	for _, tenant := range []string{"", "acme", "tenant-42"} {
		e := firetrail.Event{Tenant: tenant, Action: firetrail.NewAction[int]("thing.done").Name(), New: firetrail.Raw([]byte("1"))}
		b, _, err := e.AppendBinary(nil)
		require.NoError(t, err)
		now := time.Now().UnixMicro()
		id := firetrail.NewIDGenerator().Next(now)
		b = firetrail.StampBinary(b, firetrail.Stamp{ID: id, Time: now, Recorded: now + 1, Seq: 1, Source: "s"})
		head, err := firetrail.ReadBinaryHead(b)
		require.NoError(t, err)
		require.Equal(t, firetrail.BinaryHead{ID: id, Recorded: now + 1, Tenant: []byte(tenant), Source: []byte("s")}, head)
		require.NotNil(t, head.Tenant, "an empty key is a key")
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = firetrail.ReadBinaryHead(b) }))
		b[0] = 9
		_, err = firetrail.ReadBinaryHead(b)
		require.ErrorContains(t, err, "version 9")
	}
	for n := range 84 {
		_, err := firetrail.ReadBinaryHead(make([]byte, n))
		require.Error(t, err)
	}
	short := make([]byte, 84)
	short[0], short[46] = 1, 5
	_, err := firetrail.ReadBinaryHead(short)
	require.ErrorContains(t, err, "tenant")
}
