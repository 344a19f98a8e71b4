//go:build integration && unix

package main

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// tb is what the helpers of the tests ask of a test. Of the methods it doesn't have they call none.
type tb struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
}

// failed ends the program by way of withTB.
type failed struct{}

// withTB runs f and then, in reverse order, what it has left to clean up.
func withTB(f func(t *tb) error) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tb{ctx: ctx}
	defer func() {
		cancel()
		for i := len(t.cleanups) - 1; i >= 0; i-- {
			t.cleanups[i]()
		}
	}()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failed:
			err = fmt.Errorf("%s failed", t.Name())
		default:
			panic(r)
		}
	}()
	return f(t)
}

func (t *tb) Helper()                  {}
func (t *tb) Name() string             { return "bench-worker" }
func (t *tb) Context() context.Context { return t.ctx }
func (t *tb) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *tb) FailNow()                 { panic(failed{}) }

func (t *tb) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (t *tb) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	t.FailNow()
}
