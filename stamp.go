package firetrail

// Stamp is what the producer gives an event in the order it takes them.
type Stamp struct {
	ID       ID     // of Time
	Time     int64  // µs since 1970
	Recorded int64  // µs since 1970; 0 is none
	Seq      uint64 // 0 is none
	Source   string // at most 64 KiB - 1; what is over is cut
}

// Stamper gives events their times and ids. Events that bring neither get times that rise by a microsecond at
// least, so that the order of their ids is the order in which they were stamped. The zero value is ready for
// use. Its method must not be called concurrently.
type Stamper struct {
	ids  *IDGenerator
	last int64 // µs: the time given last
}

// Stamp returns the event's stamp, but for Seq and Source; now, in microseconds since 1970, is when it was taken. What the event brings of id
// and time it keeps; an id without a time gives the time.
func (s *Stamper) Stamp(e *Event, now int64) Stamp {
	st := Stamp{ID: e.ID, Time: now, Recorded: now}
	switch {
	case !e.Time.IsZero():
		st.Time = e.Time.UnixMicro()
	case !e.ID.IsZero():
		st.Time = e.ID.Time().UnixMicro()
	default:
		st.Time = max(now, s.last+1)
		s.last = st.Time
	}
	if e.ID.IsZero() {
		if s.ids == nil {
			s.ids = NewIDGenerator()
		}
		st.ID = s.ids.Next(st.Time)
	}
	return st
}
