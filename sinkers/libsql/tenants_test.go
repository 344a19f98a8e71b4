package libsql

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail/sinkers"
)

func TestTenantLabel(t *testing.T) {
	for tenant, want := range map[string]string{
		"": "t", "acme": "tacme", "ACME": "t-41-43-4d-45", "a.b": "ta-2eb", "../x": "t-2e-2e-2fx", "a-b": "ta-2db",
		"ä": "t-c3-a4", strings.Repeat("x", 39): "t" + strings.Repeat("x", 39),
	} {
		require.Equal(t, want, TenantLabel(tenant))
	}
	require.Regexp(t, "^h[0-9a-f]{32}$", TenantLabel(strings.Repeat("x", 40)))
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-c2-]{0,6}`), rapid.StringMatching(`[xX]{38,42}`))
		a, b := names.Draw(t, "a"), names.Draw(t, "b")
		require.Regexp(t, `^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$`, TenantLabel(a))
		require.Equal(t, a == b, TenantLabel(a) == TenantLabel(b))
	})
}

func TestTenantsNameEveryProblem(t *testing.T) {
	for url, want := range map[string]string{
		"libsql://audit.example.com":                        "has {tenant} 0 times",
		"libsql://{tenant}.{tenant}.example.com":            "has {tenant} 2 times",
		"libsql://audit.example.com/{tenant}":               "{tenant} is not in the host's name",
		"libsql://b.a-much-much-too-long-prefix-{tenant}.x": "too long; beside it there is room for 23 characters",
		"ftp://{tenant}.example.com":                        `scheme "ftp"`,
	} {
		require.ErrorContains(t, Tenants{URL: url}.Validate(), want, url)
	}
	require.ErrorContains(t, Tenants{URL: "http://{tenant}.x", Config: Config{Readers: -1}}.Validate(), "readers:")
	require.NoError(t, Tenants{URL: "libsql://audit-{tenant}.example.com", Config: Config{Token: "x"}}.Validate())
}

func TestNoDatabaseForABadTenant(t *testing.T) {
	_, err := Tenants{URL: "http://{tenant}.x"}.Resolve(t.Context(), "a\nb")
	require.True(t, sinkers.IsPermanent(err))
}
