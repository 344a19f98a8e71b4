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
