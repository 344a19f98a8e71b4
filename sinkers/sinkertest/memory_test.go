package sinkertest_test

import (
	"testing"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func TestMemory(t *testing.T) {
	sinkertest.Run(t, func(*testing.T) sinkers.Sinker { return new(sinkertest.Memory) })
}
