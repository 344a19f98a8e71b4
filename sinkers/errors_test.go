package sinkers

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPermanent(t *testing.T) {
	require.NoError(t, Permanent(nil))
	require.False(t, IsPermanent(nil))
	require.False(t, IsPermanent(io.EOF))
	require.True(t, IsPermanent(fmt.Errorf("write: %w", Permanent(io.EOF))))
	require.ErrorIs(t, Permanent(io.EOF), io.EOF)
	require.True(t, IsPermanent(fmt.Errorf("write: %w", &BatchError{Rows: []RowError{{0, io.EOF}}})))
	require.True(t, IsPermanent(errors.Join(io.EOF, Permanent(io.ErrNoProgress))))
}

func TestBatchError(t *testing.T) {
	err := &BatchError{Rows: []RowError{{3, io.EOF}}}
	require.EqualError(t, err, "row 3: EOF")
	require.ErrorIs(t, err, io.EOF)
	err.Rows = append(err.Rows, RowError{7, io.ErrNoProgress})
	require.EqualError(t, err, "2 rows refused; the first is row 3: EOF")
	require.ErrorIs(t, err, io.ErrNoProgress)
}

func TestSchemaErrorNamesBothVersions(t *testing.T) {
	require.EqualError(t, &SchemaError{Have: 9, Know: 2}, "has schema version 9, and this program knows up to 2; use a newer firetrail")
	require.EqualError(t, &SchemaError{Have: 1, Know: 2}, "has schema version 1, and this program reads 2; let a worker of this version migrate it first")
}

func TestSuspect(t *testing.T) {
	require.NoError(t, Suspect(3, nil))
	for _, err := range []error{nil, io.EOF, Permanent(io.EOF), &BatchError{Rows: []RowError{{3, io.EOF}}}} {
		_, ok := Suspected(err)
		require.False(t, ok, "%v", err)
	}
	for _, err := range []error{
		Suspect(3, io.EOF), fmt.Errorf("write: %w", Permanent(Suspect(3, io.EOF))), errors.Join(io.ErrNoProgress, Suspect(3, io.EOF)),
		Suspect(3, fmt.Errorf("tenant: %w", Suspect(0, io.EOF))),
	} {
		i, ok := Suspected(err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 3, i)
		require.ErrorIs(t, err, io.EOF)
	}
	require.EqualError(t, Suspect(3, io.EOF), "EOF")
	require.False(t, IsPermanent(Suspect(3, io.EOF)), "a guess says nothing of whether it may pass")
	require.True(t, IsPermanent(Suspect(3, Permanent(io.EOF))))
}
