//go:build unix && !linux

package crashtest

import "testing"

// disk is never full where a small one can't be mounted.
type disk struct{}

func smallDisk(t *testing.T, _ string) disk {
	t.Log("the disk is not full: a small file system is mounted on Linux alone")
	return disk{}
}

func (disk) toggle(*testing.T) {}
func (disk) free(*testing.T)   {}
