package producer

import "github.com/firetrail/firetrail"

// conclude writes the record that ends a sequence. Where there is room for it nowhere the source stays open, as
// after a crash. It is called under mu.
func (p *Producer) conclude(s *sequence) {
	if s.seq == 0 { // nothing of it was taken
		return
	}
	e := firetrail.Event{
		Tenant: s.tenant, Action: firetrail.SourceClosed, Actor: firetrail.Actor{Type: "system", ID: "firetrail"},
	}
	b := buffers.Get().(*[]byte)
	defer p.recycle(b)
	*b, _, _ = e.AppendBinary((*b)[:0])
	*b = p.stamp(&e, *b, s.source, s.seq+1)
	p.closings.Add(1)
	if _, err := p.append(recordClosing, *b, nil); err != nil {
		p.lost(recordClosing, dropReason(err))
	}
}

// closeSources ends the sequences in the table, one at a time, so that no caller of Fire waits for many.
func (p *Producer) closeSources() {
	end := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		s := p.sequences.take()
		if s != nil {
			p.conclude(s)
		}
		return s != nil
	}
	for end() {
	}
}

// lost counts a record that is kept nowhere.
func (p *Producer) lost(typ byte, why DropReason) {
	if typ == recordClosing {
		p.lostEnds.Add(1)
		return
	}
	p.drops.add(why, 1)
}
