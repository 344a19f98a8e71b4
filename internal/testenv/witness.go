//go:build unix

package testenv

import (
	"fmt"
	"hash/crc32"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/firetrail/firetrail/wal"
)

// Fate is what a process that fires knows of an event when its Fire has returned.
type Fate = uint32

// The fates.
const (
	Unfired     Fate = iota // Fire has not returned, as far as is known
	Protected               // it has, and nothing may take the event away
	Unprotected             // Stats.Unprotected rose meanwhile: a kill may take it
	Dropped                 // Stats.Dropped did: it may be gone already
)

// Witness is the fate of each event of one process, by number, in a file that it maps, and whoever asks later: it outlives
// a kill -9 without any of the producer's code. Its methods may be called concurrently.
type Witness struct{ m wal.Mapping }

// OpenWitness maps the file, which it makes where there is none, with room for so many events.
func OpenWitness(file string, events int) (Witness, error) {
	m, err := wal.OSFS().Map(file, 4*events)
	return Witness{m}, err
}

func (w Witness) at(i int) *Fate { return (*Fate)(unsafe.Pointer(&w.m.Bytes()[4*i])) }

// Set notes the fate of event i.
func (w Witness) Set(i int, f Fate) { atomic.StoreUint32(w.at(i), f) }

// Fates returns what is noted.
func (w Witness) Fates() []Fate {
	all := make([]Fate, len(w.m.Bytes())/4)
	for i := range all {
		all[i] = atomic.LoadUint32(w.at(i))
	}
	return all
}

// Close unmaps the file.
func (w Witness) Close() error { return w.m.Close() }

// Payload is the value of event i of a process, a JSON object that can be told from any other's.
func Payload(life, i int) []byte {
	pad := (i*7919 + life*104729) % 500
	if i%997 == 0 {
		pad = 5000
	}
	text := strings.Repeat(string(rune('a'+i%26)), pad)
	return fmt.Appendf(nil, `{"life":%d,"i":%d,"pad":%q,"sum":%d}`, life, i, text, crc32.ChecksumIEEE([]byte(text)))
}
