package sinkertest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func TestMemory(t *testing.T) {
	sinkertest.Run(t, func(*testing.T) sinkers.Sinker { return new(sinkertest.Memory) },
		sinkertest.Retained(func(_ *testing.T, r sinkers.Retention) sinkers.Sinker {
			var m sinkertest.Memory
			m.Retain(r)
			return &m
		}),
		sinkertest.Refusing(func(_ *testing.T, action string) sinkers.Sinker {
			var m sinkertest.Memory
			m.OnWrite(sinkertest.FailBatches(func(r *sinkers.Row) error {
				if r.Action.String() != action {
					return nil
				}
				return sinkers.Permanent(errors.New("refused"))
			}))
			return &m
		}))
}

func batch(t *testing.T, names ...string) (b sinkers.Batch) {
	t.Helper()
	action, err := firetrail.ParseName("a.b")
	require.NoError(t, err)
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	for _, name := range names {
		b.Rows = append(b.Rows, sinkers.Row{Event: firetrail.Event{
			ID: firetrail.IDFrom(at, name), Time: at, Action: action, Actor: firetrail.Actor{Name: name},
		}})
	}
	return b
}

func TestHooks(t *testing.T) {
	var m sinkertest.Memory
	outage, poison := errors.New("away"), sinkertest.ActorName("poison", true)

	m.OnWrite(sinkertest.Times(2, sinkertest.Fail(outage)))
	for range 2 {
		_, err := m.Write(t.Context(), batch(t, "a"))
		require.ErrorIs(t, err, outage)
		require.False(t, sinkers.IsPermanent(err))
	}
	_, err := m.Write(t.Context(), batch(t, "a"))
	require.NoError(t, err)

	m.OnWrite(sinkertest.FailRows(poison))
	_, err = m.Write(t.Context(), batch(t, "b", "poison 1", "c", "poison 2"))
	var refused *sinkers.BatchError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []int{1, 3}, []int{refused.Rows[0].Index, refused.Rows[1].Index})

	m.OnWrite(sinkertest.FailBatches(poison))
	_, err = m.Write(t.Context(), batch(t, "b", "poison"))
	require.True(t, sinkers.IsPermanent(err))
	require.False(t, errors.As(err, &refused), "it can't tell which row")
	m.OnWrite(sinkertest.FailBatches(sinkertest.ActorName("poison", false)))
	_, err = m.Write(t.Context(), batch(t, "poison"))
	require.Error(t, err)
	require.False(t, sinkers.IsPermanent(err))
	_, err = m.Write(t.Context(), batch(t, "b"))
	require.NoError(t, err)

	m.OnWrite(sinkertest.Chain(sinkertest.Delay(0), sinkertest.Fail(outage)))
	_, err = m.Write(t.Context(), batch(t, "c"))
	require.ErrorIs(t, err, outage)

	m.OnWrite(nil)
	_, err = m.Write(t.Context(), batch(t, "c", "a"))
	require.NoError(t, err)
	var names []string
	for _, r := range m.Rows() {
		names = append(names, r.Actor.Name)
	}
	require.Equal(t, []string{"a", "b", "c"}, names)
	require.Equal(t, 3, m.Len())
	require.Equal(t, []int{1, 1, 1, 4, 2, 1, 1, 1, 2}, m.Writes())
}

func TestAway(t *testing.T) {
	var m sinkertest.Memory
	outage := errors.New("away")
	m.Away(outage)
	_, err := m.Write(t.Context(), batch(t, "a"))
	require.ErrorIs(t, err, outage)
	_, err = m.Query(t.Context(), sinkers.Query{})
	require.ErrorIs(t, err, outage)
	require.ErrorIs(t, m.Ping(t.Context()), outage)
	require.ErrorIs(t, m.Probe(t.Context(), 1), outage)
	_, err = m.Prune(t.Context(), time.Now(), false)
	require.ErrorIs(t, err, outage)
	for _, err := range m.Tenants(t.Context()) {
		require.ErrorIs(t, err, outage)
	}
	for _, err := range m.Scan(t.Context(), sinkers.Scan{}) {
		require.ErrorIs(t, err, outage)
	}
	m.Away(nil)
	_, err = m.Write(t.Context(), batch(t, "a"))
	require.NoError(t, err)
}

func TestHangAndDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hook := range []sinkertest.Hook{sinkertest.Hang(), sinkertest.Delay(time.Hour)} {
			var m sinkertest.Memory
			m.OnWrite(hook)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := m.Write(ctx, batch(t, "a"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
			require.Zero(t, m.Len())
		}
		var m sinkertest.Memory
		m.OnWrite(sinkertest.Delay(time.Hour))
		start := time.Now()
		_, err := m.Write(t.Context(), batch(t, "a"))
		require.NoError(t, err)
		require.Equal(t, time.Hour, time.Since(start))
	})
}
