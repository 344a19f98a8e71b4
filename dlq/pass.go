package dlq

import (
	"context"
	"errors"
	"fmt"
)

// A delivery gets at most this much at a time.
const (
	maxChunkLetters = 1_000
	maxChunkBytes   = 8 << 20
)

// pass is one retry of one file, which is claimed and locked.
type pass struct {
	d       *Dir
	name    fileName // .batch.processing
	deliver Deliver

	verdicts []verdict // of the good letters, in the file's order
	chunk    []Letter  // read and not yet delivered; verdicts[len(verdicts)-len(chunk):]
	size     int
	away     bool // stop delivering

	tried, delivered, refused, buried, awayLetters int

	damage error // the first
	lost   int
}

// verdict is what became of one letter of the file.
type verdict struct {
	outcome Outcome
	scans   int
	copied  Copy
	reason  string
	refusal *refusal // what a Deliver that refused it said
}

type refusal struct{ reason, error, stage string }

// run delivers the file's letters. It reads to the end only if there is something to write anew.
func (p *pass) run(ctx context.Context) error {
	err := p.d.eachEntry(context.WithoutCancel(ctx), p.d.path(p.name), func(e entry, line []byte) error {
		if p.away && !p.changed() {
			return errStop
		}
		p.verdicts = append(p.verdicts, verdict{scans: e.scans, copied: e.Copied, reason: e.Reason})
		if p.away {
			return nil
		}
		p.chunk = append(p.chunk, e.Letter)
		p.size += len(line)
		if len(p.chunk) >= maxChunkLetters || p.size >= maxChunkBytes {
			return p.flush(ctx)
		}
		return nil
	}, p.note)
	if err == nil {
		err = p.flush(ctx)
	}
	if errors.Is(err, errStop) {
		err = nil
	}
	return err
}

// changed reports whether the file must be written anew.
func (p *pass) changed() bool { return p.delivered+p.refused > 0 || p.damage != nil }

func (p *pass) note(damage *DamageError) error {
	if p.damage == nil {
		p.damage = damage
	}
	p.lost += damage.Lost
	return nil
}

// flush delivers the chunk.
func (p *pass) flush(ctx context.Context) error {
	if len(p.chunk) == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		p.away = true
		p.chunk = nil
		return nil
	default:
	}
	letters := p.chunk
	before := make([]refusal, len(letters))
	for i, l := range letters {
		before[i] = refusal{l.Reason, l.Error, l.Stage}
	}
	outcomes := p.deliver(ctx, letters)
	p.tried += len(letters)
	for i := range letters {
		o := Away // also for the outcomes that were not given
		if i < len(outcomes) && outcomes[i] <= Refused {
			o = outcomes[i]
		}
		p.judge(&p.verdicts[len(p.verdicts)-len(letters)+i], o, letters[i], before[i])
	}
	p.chunk, p.size = nil, 0
	if len(outcomes) != len(letters) {
		return fmt.Errorf("%s: deliver returned %d outcomes for %d letters", p.name, len(outcomes), len(letters))
	}
	return nil
}

func (p *pass) judge(v *verdict, o Outcome, l Letter, before refusal) {
	v.outcome = o
	switch o {
	case Delivered:
		p.delivered++
	case Refused:
		p.refused++
		v.scans++
		if after := (refusal{l.Reason, l.Error, l.Stage}); after != before {
			v.refusal = &after
			v.reason = after.reason
		}
		if p.dead(v) {
			p.buried++
		}
	default:
		p.away = true
		p.awayLetters++
	}
}

// dead reports whether a letter has been refused often enough.
func (p *pass) dead(v *verdict) bool {
	return v.outcome == Refused && p.d.cfg.MaxScans > 0 && v.scans >= p.d.cfg.MaxScans
}
