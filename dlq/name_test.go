package dlq

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEscapeTenant(t *testing.T) {
	for tenant, want := range map[string]string{
		"":                "",
		"acme":            "acme",
		"Acme":            "%41cme",
		"acme_eu-1":       "acme_eu-1",
		"-rf":             "%2drf",
		".":               "%2e",
		"..":              "%2e%2e",
		"../../etc":       "%2e%2e%2f%2e%2e%2fetc",
		"con":             "con",
		`a\b`:             "a%5cb",
		"é":               "%c3%a9",
		"a%41":            "a%2541",
		"~":               "%7e",
		"a\x00b":          "a%00b",
		"\xff":            "%ff",
		"_":               "_",
		"acme.com":        "acme%2ecom",
		"tenant:with spc": "tenant%3awith%20spc",
	} {
		require.Equal(t, want, escapeTenant(tenant), "%q", tenant)
	}
}

// Different tenants have different names even where the file system ignores case, and no name leaves the
// directory or is too long.
func TestTenantNames(t *testing.T) {
	long := strings.Repeat("a", 120)
	tenants := rapid.OneOf(anyString(), rapid.SampledFrom([]string{
		long, long + "b", long + "B", strings.Repeat("É", 500),
		strings.Repeat("É", 500) + "x", "a", "A", "~", "a~",
	}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := tenants.Draw(t, "a"), tenants.Draw(t, "b")
		ea, eb := escapeTenant(a), escapeTenant(b)
		require.Equal(t, a == b, strings.EqualFold(ea, eb))
		n := newFileName(a, rapid.Int64Range(0, 1<<50).Draw(t, "ms"), stateProcessing)
		s := n.String()
		require.LessOrEqual(t, len(s), 200)
		require.Equal(t, s, filepath.Base(s))
		require.Equal(t, filepath.Join("dir", s), filepath.Clean("dir/"+s))
		got, ok := parseFileName(s)
		require.True(t, ok)
		require.Equal(t, n, got)
	})
}

func TestForeignNames(t *testing.T) {
	for _, s := range []string{
		"", "README", ".batch", "_.batch", "a_1.batch", "a_x_0123456789abcdef.batch", "a_1_0123456789abcde.batch",
		"a_1_0123456789abcdeX.batch", "a_1_0123456789abcdef.batch.bak", "a_-1_0123456789abcdef.batch", "a_1_0123456789ABCDEF.batch",
		"a_99999999999999999999_0123456789abcdef.batch",
	} {
		_, ok := parseFileName(s)
		require.False(t, ok, s)
	}
}
