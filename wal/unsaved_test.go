package wal

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnsaved(t *testing.T) {
	l, err := OpenMemory(Config{})
	require.NoError(t, err)
	require.Empty(t, unsaved(l))
	for i := range 5 {
		_, _, err := l.Append(byte(i), []byte{byte(i)})
		require.NoError(t, err)
	}
	l.Release(2)
	want := []Record{{3, 2, []byte{2}}, {4, 3, []byte{3}}, {5, 4, []byte{4}}}
	require.Equal(t, want, unsaved(l))
	require.NoError(t, l.Close(context.Background()))
	require.Equal(t, want, unsaved(l))
	l.Release(5)
	require.Empty(t, unsaved(l))
}

func unsaved(l *Log) (records []Record) {
	for r := range l.Unsaved() {
		records = append(records, Record{r.Seq, r.Type, append([]byte(nil), r.Payload...)})
	}
	return records
}
