package dlq

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// fileOf returns the bytes of a file that holds the letters.
func fileOf(ls []Letter) []byte {
	copied := len(slices.DeleteFunc(slices.Clone(ls), func(l Letter) bool { return l.Copied != WholeCopy }))
	b := appendHeader(nil, fileHeader{Version: formatVersion, Tenant: ls[0].Tenant, Letters: len(ls), Copied: copied})
	for _, l := range ls {
		b = appendLetter(b, &entry{Letter: l})
	}
	return b
}

// place puts a file into the directory, as if it had been found there.
func place(t *testing.T, d *Dir, tenant string, s state, b []byte) string {
	t.Helper()
	path := d.path(newFileName(tenant, d.stamp(), s))
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

func readLetters(t *testing.T, d *Dir, path string) (got []Letter, lost int, damages []*DamageError) {
	t.Helper()
	for l, err := range d.ReadFile(t.Context(), path) {
		var damage *DamageError
		if errors.As(err, &damage) {
			damages = append(damages, damage)
			lost += damage.Lost
			continue
		}
		require.NoError(t, err)
		got = append(got, l)
	}
	return got, lost, damages
}

// inMemory is a directory in memory with one file in it, whose bytes set replaces.
func inMemory(t *testing.T) (d *Dir, path string, set func([]byte)) {
	t.Helper()
	m := newMemFS()
	d = openDir(t, DirConfig{Path: "d", fs: m})
	path = d.path(newFileName("a", 1, stateWaiting))
	return d, path, func(b []byte) { m.names[path] = &inode{data: b} }
}

// A file cut at any byte gives back every letter that is whole, and is reported.
func TestTornAtEveryByte(t *testing.T) {
	d, path, set := inMemory(t)
	in := letters("a", 0, 3)
	whole := fileOf(in)
	set(whole)
	got, _, damages := readLetters(t, d, path)
	require.Equal(t, in, got)
	require.Empty(t, damages)
	header := bytes.IndexByte(whole, '\n')
	for cut := range len(whole) {
		set(whole[:cut])
		got, lost, damages := readLetters(t, d, path)
		// A letter is whole even where only its newline is missing.
		n := max(0, bytes.Count(append(bytes.Clone(whole[:cut]), whole[cut]), []byte("\n"))-1)
		require.Len(t, got, n, "cut at %d", cut)
		require.Equal(t, in[:n], append([]Letter{}, got...), "cut at %d", cut)
		require.NotEmpty(t, damages, "cut at %d", cut)
		if cut >= header {
			require.Equal(t, 3-n, lost, "cut at %d", cut)
		}
	}
}

// Any byte overwritten costs its own line at the most.
func TestCorruptAtEveryByte(t *testing.T) {
	d, path, set := inMemory(t)
	whole := fileOf(letters("a", 0, 3))
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] = '\n'
		if whole[i] == '\n' {
			bad[i] = ' '
		}
		set(bad)
		got, _, damages := readLetters(t, d, path)
		require.NotEmpty(t, damages, "byte %d", i)
		least := 2
		if whole[i] == '\n' {
			least = 1 // two lines are one
		}
		require.GreaterOrEqual(t, len(got), least, "byte %d", i)
	}
}

// The engine uses what is whole, sets the file aside as it was found, and counts.
func TestDamagedFileIsSetAside(t *testing.T) {
	for name, answer := range map[string]func(Letter) Outcome{"delivered": nil, "away": always(Away), "refused": always(Refused)} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t, DirConfig{MaxScans: 1})
			b := fileOf(letters("a", 0, 4))
			i := bytes.Index(b, []byte(`"a-1"`))
			b[i+1] = 'X'
			place(t, d, "a", stateWaiting, b)
			require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 10, 11)))
			x := destination{answer: answer}
			res, err := d.Retry(t.Context(), x.deliver)
			require.NoError(t, err)
			require.Equal(t, 1, res.Damaged)
			rest := []string{"a-0", "a-2", "a-3", "a-10"}
			switch name {
			case "delivered":
				require.Equal(t, rest, x.ids())
			case "refused":
				require.Equal(t, rest, ids(stored(t, d, Dead)))
			case "away":
				require.Equal(t, rest, ids(stored(t, d, Waiting)))
			}
			s := d.Stats()
			require.EqualValues(t, 1, s.DamagedFiles)
			require.EqualValues(t, 1, s.Lost)
			require.Equal(t, 1, s.Damaged.Files)
			var aside string
			for _, n := range names(t, d.cfg.Path) {
				if strings.HasSuffix(n, ".batch.damaged") {
					aside = filepath.Join(d.cfg.Path, n)
				}
			}
			kept, err := os.ReadFile(aside)
			require.NoError(t, err)
			require.Equal(t, b, kept)
			res, err = d.Retry(t.Context(), x.deliver) // it is not found damaged again
			require.NoError(t, err)
			require.Zero(t, res.Damaged)
		})
	}
}

func TestOddFiles(t *testing.T) {
	in := letters("a", 0, 2)
	newer := bytes.Replace(fileOf(in), []byte(`"version":1`), []byte(`"version":2`), 1)
	newline := bytes.IndexByte(newer, '\n')
	putCRC(newer[8:16], newer[18:newline])
	whole := fileOf(in)
	for name, c := range map[string]struct {
		file    []byte
		letters int
		damage  string
		err     error
	}{
		"empty":                 {nil, 0, "no header", nil},
		"garbage":               {[]byte("hello\nworld"), 0, "no header", nil},
		"no header":             {whole[bytes.IndexByte(whole, '\n')+1:], 2, "no header", nil},
		"two headers":           {append(fileOf(in), fileOf(in)...), 4, "isn't the first line", nil},
		"more than was counted": {appendLetter(fileOf(in), &entry{Letter: in[0]}), 3, "counts 2 letters, but 3", nil},
		"no letters":            {appendHeader(nil, fileHeader{Version: 1}), 0, "", nil},
		"newer":                 {newer, 0, "", ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t, DirConfig{})
			path := place(t, d, "a", stateWaiting, c.file)
			var x destination
			var damage error
			for _, err := range d.ReadFile(t.Context(), path) {
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
				} else if err != nil {
					damage = errors.Join(damage, err)
				}
			}
			if c.damage != "" {
				require.ErrorContains(t, damage, c.damage)
			} else {
				require.NoError(t, damage)
			}
			_, err := d.Retry(t.Context(), x.deliver)
			require.ErrorIs(t, err, c.err)
			require.Len(t, x.got, c.letters)
			left := names(t, d.cfg.Path)
			switch {
			case c.err != nil:
				require.Equal(t, []string{filepath.Base(path)}, left)
			case c.damage != "":
				require.Equal(t, []string{filepath.Base(path) + ".damaged"}, left)
			default:
				require.Empty(t, left)
			}
		})
	}
}

// A file that can't be read doesn't hold up what its tenant has behind it, and is tried with each scan.
func TestUnreadableFile(t *testing.T) {
	m := newMemFS()
	d := openDir(t, DirConfig{Path: "d", fs: m})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 1, 2)))
	m.fail = func(_ int, op string) error {
		if op == "open" {
			m.fail = nil
			return syscall.EIO
		}
		return nil
	}
	var x destination
	_, err := d.Retry(t.Context(), x.deliver)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, []string{"a-1"}, x.ids())
	_, err = d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, []string{"a-1", "a-0"}, x.ids())
}

// A line without end is passed over without being held in memory.
func TestEndlessLine(t *testing.T) {
	in := letters("a", 0, 2)
	whole := fileOf(in)
	cut := bytes.Index(whole, []byte(`"a-1"`)) - 30
	cut += bytes.IndexByte(whole[cut:], '\n') + 1
	r := newFileReader("x", io.MultiReader(bytes.NewReader(whole[:cut]), io.LimitReader(endless{}, 10<<20),
		strings.NewReader("\n"), bytes.NewReader(whole[cut:])), 4096)
	r.max = 8192
	var got []string
	damages := 0
	for {
		e, _, err := r.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.As(err, new(*DamageError)) {
			damages++
			continue
		}
		require.NoError(t, err)
		got = append(got, e.ID)
	}
	require.Equal(t, []string{"a-0", "a-1"}, got)
	require.Equal(t, 1, damages)
	require.LessOrEqual(t, cap(r.line), 4*8192)
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// A letter of 10 MB goes through both ways; one that can't be read again is not written.
func TestLargeLetter(t *testing.T) {
	d := openDir(t, DirConfig{})
	l := letter("a", 0)
	l.Value = bytes.Repeat([]byte(`"`), 10<<20)
	require.NoError(t, d.Put(t.Context(), Waiting, []Letter{l, letter("a", 1)}))
	var x destination
	_, err := d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, l.Value, x.got[0].Value)
	require.Equal(t, []string{"a-0", "a-1"}, x.ids())

	l.Value = bytes.Repeat([]byte(`"`), maxLine/2)
	require.ErrorContains(t, d.Put(t.Context(), Waiting, []Letter{l}), "are the most")
	require.Empty(t, names(t, d.cfg.Path))
}

func FuzzReadFile(f *testing.F) {
	whole := fileOf(letters("a", 0, 2))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("\n\n"))
	f.Add([]byte(`{"crc":"00000000","id":1}`))
	f.Add(fixCRC([]byte(`{"crc":"00000000","id":"x","headers":[{}],"value":{"base64":"AA=="}}`)))
	f.Add(fixCRC([]byte(`{"crc":"00000000","firetrail":"letters","version":1,"letters":-1}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, fixCRC(b)} { // as it is, and with what is behind the crc let through
			r := newFileReader("x", bytes.NewReader(in), 16)
			r.max = 4096
			for reads := 0; ; reads++ {
				require.LessOrEqual(t, reads, 2+bytes.Count(in, []byte("\n"))+1)
				e, line, err := r.read()
				if errors.Is(err, io.EOF) {
					break
				}
				if errors.As(err, new(*DamageError)) {
					continue
				}
				if err != nil {
					require.ErrorIs(t, err, ErrVersion)
					break
				}
				require.NotEmpty(t, line)
				again := appendLetter(nil, &e)
				back, err := parseLetter(again[:len(again)-1])
				require.NoError(t, err)
				require.Equal(t, e, back)
			}
		}
	})
}

// fixCRC makes the crc of each line right.
func fixCRC(b []byte) []byte {
	b = bytes.Clone(b)
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if len(line) > len(crcPrefix) {
			copy(line, crcPrefix)
			putCRC(line[8:16], line[18:])
		}
	}
	return b
}
