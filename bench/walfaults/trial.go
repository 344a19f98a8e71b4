package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// written is how many records each log gets where its disk has room.
const written = 4000

// trial is one log's.
type trial struct {
	log subject
	dir string
}

// report is what a child says.
type report struct {
	Accepted []uint64 // records for which append returned nil
	After    int      // of them, those after there was space again
	Tries    int      // after there was space again
	Found    []uint64 // records read, in the order they came
	Garbage  int      // what was given as a record and is none
	Lost     uint64   // what the log itself says is lost
	Opened   string   // what became of the second open
	Err      string
}

// patience is how long a child may take.
const patience = 20 * time.Second

// step runs a child.
func (t *trial) step(what, dir string) (r report) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], t.log.name, what, dir)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if json.Unmarshal(out.Bytes(), &r) == nil && err == nil {
		return r
	}
	switch text := stderr.String(); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.Err = "hangs"
	case strings.Contains(text, "panic"):
		r.Err = "panics"
	default:
		r.Err = fmt.Sprintf("%v %.100s", err, text)
	}
	return r
}

// damage writes a log, damages one of its files, and reads it.
func (t *trial) damage(name string, damage func(files []string) error) string {
	dir := filepath.Join(t.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err.Error()
	}
	if r := t.step("write", dir); len(r.Accepted) != written {
		return "not written: " + r.Err
	}
	files, err := filepath.Glob(filepath.Join(dir, t.log.files))
	slices.Sort(files)
	if err == nil {
		err = damage(files)
	}
	if err != nil {
		return err.Error()
	}
	return t.step("read", dir).String()
}

// String is what a reader gets.
func (r report) String() string {
	s := number(len(distinct(r.Found)))
	if r.Garbage > 0 {
		s += fmt.Sprintf(", %s garbage as valid", number(r.Garbage))
	}
	if r.Lost > 0 {
		s += fmt.Sprintf(", says %s lost", number(int(r.Lost)))
	}
	switch {
	case r.Err == "hangs" || r.Err == "panics":
		s += ", " + r.Err
	case r.Err != "":
		s += ", then an error"
	}
	return s
}

func (t *trial) cut() string {
	return t.damage("cut", func(files []string) error {
		last := files[len(files)-1]
		b, err := os.ReadFile(last)
		if err != nil {
			return err
		}
		return os.Truncate(last, int64(len(bytes.TrimRight(b, "\x00")))-100)
	})
}

func (t *trial) flip() string {
	return t.damage("flip", func(files []string) error {
		b, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		b[len(bytes.TrimRight(b, "\x00"))/2] ^= 4
		return os.WriteFile(files[0], b, 0o600)
	})
}

// full fills the disk while records are appended, and makes room again.
func (t *trial) full() string {
	dir := filepath.Join(t.dir, "full")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err.Error()
	}
	if err := mount(dir); err != nil {
		return "–"
	}
	defer func() { _ = unmount(dir) }() // it goes with the process at the latest
	if err := os.WriteFile(ballast(dir), make([]byte, 6<<20), 0o600); err != nil {
		return err.Error()
	}
	w := t.step("full", dir)
	if len(w.Accepted) == 0 {
		return w.Err
	}
	r := t.step("read", dir)
	found := distinct(r.Found)
	accepted := map[uint64]bool{}
	missing, refused := 0, 0
	for _, n := range w.Accepted {
		accepted[n] = true
		if !found[n] {
			missing++
		}
	}
	for n := range found {
		if !accepted[n] {
			refused++
		}
	}
	var says []string
	if w.Err != "" {
		says = append(says, w.Err)
	}
	if w.After < w.Tries {
		says = append(says, fmt.Sprintf("%s of %s accepted after", number(w.After), number(w.Tries)))
	}
	if missing > 0 {
		says = append(says, fmt.Sprintf("%s of %s accepted can't be read", number(missing), number(len(accepted))))
	}
	if refused > 0 {
		says = append(says, fmt.Sprintf("%s refused ones are there", number(refused)))
	}
	if r.Garbage > 0 {
		says = append(says, number(r.Garbage)+" garbage as valid")
	}
	if r.Err != "" {
		says = append(says, "reading it ends with an error")
	}
	if len(says) == 0 {
		return "all accepted are there"
	}
	return strings.Join(says, "; ")
}

func (t *trial) second() string {
	dir := filepath.Join(t.dir, "second")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err.Error()
	}
	r := t.step("second", dir)
	if r.Err != "" {
		return r.Err
	}
	return r.Opened
}

func distinct(numbers []uint64) map[uint64]bool {
	m := map[uint64]bool{}
	for _, n := range numbers {
		m[n] = true
	}
	return m
}

// number has commas.
func number(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", number(n/1000), n%1000)
}
