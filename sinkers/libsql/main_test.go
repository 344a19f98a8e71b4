package libsql

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/firetrail/firetrail/internal/testenv"
)

func TestMain(m *testing.M) {
	code := m.Run()
	err := testenv.Disconnect()
	if err == nil {
		err = goleak.Find()
	}
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
