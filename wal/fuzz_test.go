package wal

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzFrame(f *testing.F) {
	b := make([]byte, 64)
	putFrame(b, 7, 1, 2, 3, []byte("payload"))
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		at, found := resync(b, 0, 7, 1<<20, plausible{})
		for i := 0; i < at && i < len(b); i++ {
			if _, ok := readFrame(b[i:], 7, 1<<20); ok {
				t.Fatalf("resync went past the frame at %d, to %d", i, at)
			}
		}
		if found {
			if _, ok := readFrame(b[at:], 7, 1<<20); !ok {
				t.Fatal("resync found no frame")
			}
		}
	})
}

func FuzzScanRing(f *testing.F) {
	r, err := newRing(heapMapping(make([]byte, ringPage+4096)), logID{1}, 2, 1, 0)
	require.NoError(f, err)
	for seq := uint64(1); ; seq++ {
		ok, err := r.put(seq, 0, make([]byte, 90))
		require.NoError(f, err)
		if !ok {
			break
		}
	}
	f.Add(slices.Clone(r.m.Bytes()))
	wrapped, _, _, _ := lapped(f, payload)
	f.Add(wrapped)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := scanRing(b, logID{1})
		if errors.Is(err, ErrVersion) || errors.Is(err, errForeignRing) {
			return
		}
		for i := range s.frames {
			if s.frames[i].seq < s.tailSeq || i > 0 && s.frames[i].seq <= s.frames[i-1].seq || err != nil {
				t.Fatal("out of order", err)
			}
		}
	})
}

// FuzzMark reads a checkpoint that holds anything at all: what it returns is one of its slots.
func FuzzMark(f *testing.F) {
	fsys := newMemFS()
	m := mark{id: logID{1}}
	require.NoError(f, m.open(fsys, "/log/mark"))
	for i := range uint64(3) {
		require.NoError(f, m.write(10*i, 20*i, 30*i))
		f.Add(slices.Clone(fsys.files["/log/mark"].b))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := newMemFS()
		n.put("/log/mark", b)
		m, found, err := readMark(n, "/log/mark")
		if err != nil || !found {
			return
		}
		h := header{id: m.id, a: m.counter, b: m.released, c: m.synced, d: m.kept}
		// What was cut off may have been zeros.
		if !bytes.Contains(append(slices.Clone(b), make([]byte, headerSize)...), h.append(nil, magicMark)) {
			t.Fatalf("%+v is not in the file", m)
		}
	})
}

// FuzzOpen opens a log whose files hold anything at all.
func FuzzOpen(f *testing.F) {
	fsys := newMemFS()
	cfg := small(fsys)
	l := open(f, cfg)
	appendN(f, l, 20)
	k := fsys.kill()
	seg, mark, ring := segmentName("/log", 0), "/log/"+markName, "/log/"+ringName
	require.NoError(f, closeLog(l))
	f.Add(k.files[mark].b, fsys.files[seg].b, k.files[ring].b)
	f.Add([]byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, markBytes, segBytes, ringBytes []byte) {
		n := newMemFS()
		n.put(mark, markBytes)
		n.put(seg, segBytes)
		n.put(ring, ringBytes)
		cfg.FS = n
		l, err := Open(cfg)
		if err != nil {
			return
		}
		defer func() { _ = closeLog(l) }()
		if l.Stats().Next > 1<<62 {
			return // a made-up mark
		}
		seq, _, err := l.Append(0, []byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		r := l.NewReader()
		for {
			records, err := r.Read(timeout(t), nil, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if last := records[len(records)-1]; last.Seq == seq {
				if string(last.Payload) != "new" {
					t.Fatalf("read %q", last.Payload)
				}
				return
			}
		}
	})
}
