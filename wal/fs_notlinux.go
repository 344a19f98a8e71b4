//go:build !linux

package wal

import "errors"

func (osFile) Allocate(int64) error { return errors.ErrUnsupported }
