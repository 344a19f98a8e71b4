package dlq

import "sync/atomic"

// DirStats is what a Dir holds and has done. The totals are of the whole directory, other processes' files
// included, as of the last scan; the counts are this process's since it opened the directory.
type DirStats struct {
	Waiting, Dead, Damaged Total

	Put            int64 // letters put
	Retried        int64 // letters given to a Deliver
	Delivered      int64 // of those, the ones delivered and removed
	Refused        int64 // of those, the ones refused, once for each time
	Buried         int64 // letters moved to .dead files after MaxScans
	Discarded      int64 // dead letters discarded over budget
	DiscardedFiles int64
	DamagedFiles   int64 // files found damaged
	Lost           int64 // letters missing from those, as far as that is known
	Recovered      int64 // files of processes that ended, back in the queue
	Full           int64 // Puts refused for want of room
	ScanErrors     int64 // scans that ended with an error
}

type counters struct {
	put, retried, delivered, refused, buried, discarded, discardedFiles, damagedFiles, lost, recovered,
	full, scanErrors atomic.Int64
}

// Stats returns what the directory holds and what was done. It costs no system call.
func (d *Dir) Stats() DirStats {
	d.index.mu.Lock()
	t := d.index.total
	d.index.mu.Unlock()
	c := &d.stats
	return DirStats{
		Waiting: t[Waiting], Dead: t[Dead], Damaged: t[Damaged],
		Put: c.put.Load(), Retried: c.retried.Load(), Delivered: c.delivered.Load(), Refused: c.refused.Load(),
		Buried: c.buried.Load(), Discarded: c.discarded.Load(), DiscardedFiles: c.discardedFiles.Load(),
		DamagedFiles: c.damagedFiles.Load(), Lost: c.lost.Load(), Recovered: c.recovered.Load(),
		Full: c.full.Load(), ScanErrors: c.scanErrors.Load(),
	}
}
