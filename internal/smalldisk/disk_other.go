//go:build !linux

package smalldisk

import "testing"

// Disk is a small file system. There is none here.
type Disk struct{ Dir string }

// Mount returns nil, and says in the test's log why.
func Mount(t testing.TB, _ string, _ int) *Disk {
	t.Log("no disk is filled: small file systems to fill are for Linux")
	return nil
}

// Fill does nothing.
func (*Disk) Fill(testing.TB) {}

// Empty does nothing.
func (*Disk) Empty(testing.TB) bool { return false }

// Grow does nothing.
func (*Disk) Grow(testing.TB, int) {}
