package wal

import "slices"

// lost is which records were told to be lost: ascending ranges, apart from each other.
type lost []Loss

// add takes a range in, and returns the parts of it that were not in yet.
func (g *lost) add(loss Loss) (fresh []Loss) {
	rest := loss
	from := slices.IndexFunc(*g, func(k Loss) bool { return k.To >= loss.From })
	if from < 0 {
		from = len(*g)
	}
	to := from
	for ; to < len(*g) && (*g)[to].From <= loss.To; to++ {
		known := (*g)[to]
		if rest.From < known.From {
			part := rest
			part.To = known.From - 1
			fresh = append(fresh, part)
		}
		rest.From = known.To + 1
	}
	if rest.From <= rest.To {
		fresh = append(fresh, rest)
	}
	if to > from {
		loss.From, loss.To = min(loss.From, (*g)[from].From), max(loss.To, (*g)[to-1].To)
	}
	*g = slices.Replace(*g, from, to, loss)
	return fresh
}

// past returns the first sequence at or above seq that was not lost.
func (g lost) past(seq uint64) uint64 {
	for _, k := range g {
		if k.From <= seq && seq <= k.To {
			seq = k.To + 1
		}
	}
	return seq
}

// forget drops what is at or below upTo.
func (g *lost) forget(upTo uint64) {
	*g = slices.DeleteFunc(*g, func(k Loss) bool { return k.To <= upTo })
}

// noteLoss counts the part of a loss that was not told before and is not released, and tells it.
func (l *Log) noteLoss(loss Loss) {
	l.mu.Lock()
	loss.From = max(loss.From, l.released+1)
	if loss.From > loss.To {
		l.mu.Unlock()
		return
	}
	l.gaps.forget(l.released)
	fresh := l.gaps.add(loss)
	for _, part := range fresh {
		l.stats.Lost += part.Records()
	}
	l.mu.Unlock()
	for _, part := range fresh {
		l.cfg.Logger.Error("wal: records lost", "from", part.From, "to", part.To, "file", part.Name, "reason", part.Reason)
		if l.cfg.OnLoss != nil {
			l.cfg.OnLoss(part)
		}
	}
}
