package producer

import "math/bits"

// marks remembers, above a sequence up to which all are marked, which are: a bit for each.
type marks struct {
	low   uint64   // every sequence at or below it is marked
	base  uint64   // the sequence of the first bit
	words []uint64 // the first holds low + 1, or they are empty
}

func newMarks(low uint64) marks { return marks{low: low, base: low + 1} }

func (m *marks) has(seq uint64) bool {
	if seq <= m.low {
		return true
	}
	i := seq - m.base
	return i/64 < uint64(len(m.words)) && m.words[i/64]&(1<<(i%64)) != 0
}

// set marks a sequence, and reports whether low has moved.
func (m *marks) set(seq uint64) (moved bool) {
	if seq <= m.low {
		return false
	}
	i := seq - m.base
	for uint64(len(m.words)) <= i/64 {
		m.words = append(m.words, 0)
	}
	m.words[i/64] |= 1 << (i % 64)
	if seq != m.low+1 {
		return false
	}
	m.advance()
	return true
}

// setTo marks every sequence up to one.
func (m *marks) setTo(seq uint64) {
	for len(m.words) > 0 && m.low < seq {
		m.set(m.low + 1)
	}
	if m.low < seq { // nothing is marked above it
		m.low, m.base = seq, seq+1
	}
}

func (m *marks) advance() {
	i := m.low + 1 - m.base
	for i/64 < uint64(len(m.words)) {
		run := uint64(bits.TrailingZeros64(^(m.words[i/64] >> (i % 64))))
		run = min(run, 64-i%64)
		i += run
		if run == 0 || i%64 != 0 {
			break
		}
	}
	m.low = m.base + i - 1
	n := i / 64
	if n == uint64(len(m.words)) {
		m.words, m.base = m.words[:0], m.low+1
		return
	}
	if n > 0 && n >= uint64(len(m.words))/2 { // moving is worth it
		m.words = m.words[:copy(m.words, m.words[n:])]
		m.base += 64 * n
	}
}
