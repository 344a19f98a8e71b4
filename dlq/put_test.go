package dlq

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPutAndRead(t *testing.T) {
	d := openDir(t, DirConfig{})
	all := append(letters("acme", 0, 3), letters("", 0, 2)...)
	all = append(all, letters("acme", 3, 5)...)
	require.NoError(t, d.Put(t.Context(), Waiting, all))
	require.NoError(t, d.Put(t.Context(), Dead, letters("../evil", 0, 1)))

	var files []File
	for f, err := range d.Files(t.Context()) {
		require.NoError(t, err)
		info, err := os.Stat(f.Path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.Equal(t, info.Size(), f.Bytes)
		files = append(files, f)
	}
	require.Len(t, files, 3)
	require.Equal(t, "acme", files[0].Tenant)
	require.Equal(t, 5, files[0].Letters)
	require.Equal(t, map[string]int{ReasonOutage: 5}, files[0].Reasons)
	require.Equal(t, "", files[1].Tenant)
	require.Equal(t, "../evil", files[2].Tenant)
	require.Equal(t, Dead, files[2].Kind)
	info, err := os.Stat(d.cfg.Path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	var got []Letter
	for l, err := range d.ReadFile(t.Context(), filepath.Base(files[0].Path)) {
		require.NoError(t, err)
		got = append(got, l)
	}
	require.Equal(t, letters("acme", 0, 5), got)
	s := d.Stats()
	require.Equal(t, Total{Files: 2, Letters: 7, Bytes: files[0].Bytes + files[1].Bytes}, s.Waiting)
	require.Equal(t, Total{Files: 1, Letters: 1, Bytes: files[2].Bytes}, s.Dead)
	require.EqualValues(t, 8, s.Put)
}

func TestRetryDelivers(t *testing.T) {
	d := openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 2500)))
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 2500, 2600)))
	var x destination
	res, err := d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 2, Delivered: 2600}, res)
	require.Equal(t, letters("a", 0, 2600), x.got)
	require.Empty(t, names(t, d.cfg.Path))
	require.Zero(t, d.Stats().Waiting)
}

// What is put at once is divided into files that are small enough to be written anew.
func TestPutDivides(t *testing.T) {
	d := openDir(t, DirConfig{})
	in := letters("a", 0, maxFileLetters+1)
	big := letters("b", 0, 3)
	for i := range big {
		big[i].Value = make([]byte, maxFileBytes/2)
	}
	require.NoError(t, d.Put(t.Context(), Waiting, append(in, big...)))
	require.Equal(t, 2+3, d.Stats().Waiting.Files)
	require.Equal(t, append(ids(in), ids(big)...), ids(stored(t, d, Waiting)))
}
