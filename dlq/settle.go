package dlq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// settle makes durable what a pass came to. The order of its steps is such that at each moment every
// letter that wasn't delivered is in a file that a restart finds:
//
//  1. poison gets its name as .dead, what remains is written under a temporary name; both synced
//  2. what remains takes the place of the file it came from, in one rename; or that file is removed,
//     where nothing remains
//  3. the file goes back from .processing to waiting
//
// A crash after 1 leaves poison in two files, to be refused once more; anywhere else it changes nothing
// or at the worst delivers again. A damaged file is not replaced but set aside, after its whole letters
// have a new file.
func (p *pass) settle(ctx context.Context) error {
	if !p.changed() && len(p.verdicts) > 0 {
		return p.d.rename(p.name, p.name.in(stateWaiting))
	}
	rest, dead, err := p.rewrite(ctx)
	defer rest.abandon()
	defer dead.abandon()
	if err != nil {
		return fmt.Errorf("settling %s: %w", p.name, err)
	}
	if err := p.commit(rest, dead); err != nil {
		return fmt.Errorf("settling %s: %w", p.name, err)
	}
	return nil
}

// rewrite writes the letters that remain and those that are poison, each to a file of their own. Either
// is nil where it would be empty.
func (p *pass) rewrite(ctx context.Context) (rest, dead *fileWriter, err error) {
	restHead, deadHead := p.headers()
	if restHead.Letters > 0 {
		if rest, err = p.d.create(p.name.again(stateTemp), restHead); err != nil {
			return rest, nil, err
		}
	}
	if deadHead.Letters > 0 {
		if dead, err = p.d.create(p.name.again(stateTemp), deadHead); err != nil {
			return rest, dead, err
		}
	}
	i := 0
	// It ends without ctx: what was delivered is to be noted, or it is delivered again.
	err = p.d.eachEntry(context.WithoutCancel(ctx), p.d.path(p.name), func(e entry, line []byte) error {
		if i == len(p.verdicts) {
			return errors.New("it grew while it was retried")
		}
		v := &p.verdicts[i]
		i++
		switch {
		case v.outcome == Delivered:
			return nil
		case v.outcome == Away:
			return rest.raw(line)
		case p.dead(v):
			return dead.letter(bury(&e, v))
		default:
			return rest.letter(refuse(&e, v))
		}
	}, func(*DamageError) error { return nil })
	if err == nil && i < len(p.verdicts) {
		err = errors.New("it shrank while it was retried")
	}
	for _, w := range []*fileWriter{rest, dead} {
		if w != nil && err == nil {
			err = w.finish()
		}
	}
	return rest, dead, err
}

func (p *pass) headers() (rest, dead fileHeader) {
	tenant := ""
	if h, err := p.d.readHeader(p.d.path(p.name)); err == nil && h.Version != 0 {
		tenant = h.Tenant
	}
	now := time.Now()
	rest = fileHeader{Kind: Waiting, Tenant: tenant, Reasons: map[string]int{}, Created: now}
	dead = fileHeader{Kind: Dead, Tenant: tenant, Reasons: map[string]int{}, Created: now}
	for i := range p.verdicts {
		v := &p.verdicts[i]
		switch {
		case v.outcome == Delivered:
		case p.dead(v):
			dead.Letters++
			dead.Reasons[deadReason(v.reason)]++
			dead.count(v.copied)
		default:
			rest.Letters++
			rest.Reasons[v.reason]++
			rest.count(v.copied)
		}
	}
	return rest, dead
}

// refuse notes another refusal in a letter.
func refuse(e *entry, v *verdict) *entry {
	e.scans = v.scans
	e.Attempts++
	if v.refusal != nil {
		e.Reason, e.Error, e.Stage = v.refusal.reason, v.refusal.error, v.refusal.stage
	}
	return e
}

// bury makes a refused letter a dead one. Its scans begin anew, so that an operator who renames the file
// to .batch has it tried as often as a new one.
func bury(e *entry, v *verdict) *entry {
	refuse(e, v).scans = 0
	if was := e.Reason; deadReason(was) != was {
		e.Reason = deadReason(was)
		e.Error = fmt.Sprintf("refused in %d scans; before that: %s: %s", v.scans, was, e.Error)
	}
	return e
}

// deadReason replaces the reasons that speak of waiting: what was refused to the last isn't waiting.
func deadReason(reason string) string {
	if reason == ReasonOutage || reason == ReasonOverflow || reason == ReasonParked {
		return ReasonRefused
	}
	return reason
}

// commit does the steps that settle is made of.
func (p *pass) commit(rest, dead *fileWriter) error {
	d := p.d
	if dead != nil {
		if err := dead.publish(dead.name.in(stateDead)); err != nil {
			return err
		}
	}
	if p.damage != nil {
		return p.setAside(rest, dead)
	}
	if err := p.syncNew(dead); err != nil {
		return err
	}
	if rest == nil {
		return d.remove(p.name)
	}
	// The lock of the new file is taken before it gets the name, or another process would take it for
	// one that nobody works on.
	lock, err := d.fs.Lock(d.path(rest.name))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := rest.publish(p.name); err != nil {
		return err
	}
	if err := d.rename(p.name, p.name.in(stateWaiting)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// setAside keeps the damaged file as it is, under a name that nothing deletes.
func (p *pass) setAside(rest, dead *fileWriter) error {
	if rest != nil {
		if err := rest.publish(rest.name.in(stateWaiting)); err != nil {
			return err
		}
	}
	if err := p.syncNew(rest, dead); err != nil {
		return err
	}
	return p.d.rename(p.name, p.name.in(stateDamaged))
}

// syncNew makes the names of new files durable. Where it can't they are taken back, since the file they
// were made from stays and would be made into new ones with every scan.
func (p *pass) syncNew(files ...*fileWriter) error {
	files = slices.DeleteFunc(files, func(w *fileWriter) bool { return w == nil })
	if len(files) == 0 {
		return nil
	}
	err := p.d.fs.SyncDir(p.d.cfg.Path)
	if err != nil {
		for _, w := range files {
			p.d.takeBack(w.name)
		}
	}
	return err
}
