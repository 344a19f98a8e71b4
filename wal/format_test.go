package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// sum puts the right checksum into a header.
func sum(b []byte) {
	clear(b[12:16])
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:headerSize], castagnoli))
}

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		seq, typ := rapid.Uint64().Draw(t, "seq"), rapid.Byte().Draw(t, "type")
		synced, salt := rapid.Int64().Draw(t, "synced"), rapid.Uint32().Draw(t, "salt")
		b := make([]byte, frameHeader+len(payload)+3)
		putFrame(b, salt, seq, typ, synced, payload)
		f, ok := readFrame(b, salt, len(payload))
		require.True(t, ok)
		require.Equal(t, frame{seq, typ, synced, f.payload}, f)
		require.True(t, bytes.Equal(payload, f.payload))
		other := rapid.Uint32().Filter(func(s uint32) bool { return s != salt }).Draw(t, "other")
		_, ok = readFrame(b, other, len(payload))
		require.False(t, ok, "another salt")
		bit := rapid.IntRange(0, (frameHeader+len(payload))*8-1).Draw(t, "bit")
		b[bit/8] ^= 1 << (bit % 8)
		_, ok = readFrame(b, salt, len(payload))
		require.False(t, ok, "a flipped bit")
	})
}

func BenchmarkAppend(b *testing.B) {
	rec := bytes.Repeat([]byte("r"), 400)
	b.Run("copy and crc", func(b *testing.B) { // the floor: the same bytes into warm memory
		buf := make([]byte, 1<<20)
		b.SetBytes(400)
		for i := range b.N {
			putFrame(buf[i%2000*(400+frameHeader):], 1, uint64(i), 1, 0, rec)
		}
	})
	run := func(name string, open func(b *testing.B) *Log) {
		b.Run(name, func(b *testing.B) {
			l := open(b)
			defer func() { _ = closeLog(l) }()
			b.SetBytes(400)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if _, _, err := l.Append(1, rec); err != nil {
					b.Fatal(err)
				}
				if i%20000 == 19999 { // a burst fits the ring; what a full one does is another matter
					b.StopTimer()
					seq := l.Stats().Next - 1
					_ = l.Sync(context.Background())
					l.Release(seq)
					b.StartTimer()
				}
			}
		})
	}
	run("memory", func(b *testing.B) *Log {
		l, err := OpenMemory(Config{})
		require.NoError(b, err)
		return l
	})
	run("disk", func(b *testing.B) *Log {
		l, err := Open(Config{Dir: b.TempDir(), MaxBytes: -1})
		require.NoError(b, err)
		return l
	})
}

func TestSaltIsAChecksum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := logID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		kind := rapid.Byte().Draw(t, "kind")
		number, generation := rapid.Uint64().Draw(t, "number"), rapid.Uint64().Draw(t, "generation")
		b := binary.LittleEndian.AppendUint64(append(id[:], kind), number)
		require.Equal(t, crc32.Checksum(binary.LittleEndian.AppendUint64(b, generation), castagnoli), salt(id, kind, number, generation))
	})
	require.Zero(t, testing.AllocsPerRun(100, func() { salt(logID{1}, kindRing, 2, 3) }))
}
