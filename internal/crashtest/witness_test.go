//go:build unix

package crashtest

import (
	"sync/atomic"
	"unsafe"

	"github.com/firetrail/firetrail/wal"
)

// fate is what the child knows of an event when its Fire has returned.
type fate = uint32

const (
	unfired     fate = iota // Fire has not returned, as far as is known
	protected               // it has, and nothing may take the event away
	unprotected             // Stats.Unprotected rose meanwhile: a kill may take it
	dropped                 // Stats.Dropped did: it may be gone already
)

// maxEvents is how many events a child fires at the most.
const maxEvents = 1 << 18

// witness is the fate of each event of one child, by number, in a file that both map: it outlives the child without
// any of the producer's code.
type witness struct{ m wal.Mapping }

func openWitness(file string) (witness, error) {
	m, err := wal.OSFS().Map(file, 4*maxEvents)
	return witness{m}, err
}

func (w witness) at(i int) *fate { return (*fate)(unsafe.Pointer(&w.m.Bytes()[4*i])) }

func (w witness) set(i int, f fate) { atomic.StoreUint32(w.at(i), f) }

// fates returns what the child left.
func (w witness) fates() []fate {
	all := make([]fate, maxEvents)
	for i := range all {
		all[i] = atomic.LoadUint32(w.at(i))
	}
	return all
}
