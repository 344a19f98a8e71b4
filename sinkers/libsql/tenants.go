package libsql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// TenantReaders is the most queries at a time to a tenant's database in [Tenants]: many are open at a time, and a server
// has room for 128 connections to all of its databases unless it is told otherwise.
const TenantReaders = 1

// Tenants has a database for each tenant, for a [sinkers.Router]: its method is the Resolve of a
// sinkers.RouterConfig. Which tenants there are the server doesn't tell this way: who makes the databases knows.
type Tenants struct {
	// URL is a template of the databases' URLs, in whose host {tenant} stands for the tenant's label:
	// libsql://audit-{tenant}.example.com. [TenantLabel] says what label a tenant has.
	URL string
	// Config is that of each database; URL is ignored. There is no lease, since the tenant's partition is one
	// worker's at a time. Readers is by default TenantReaders.
	Config Config
}

const placeholder = "{tenant}"

// Validate reports everything that is wrong with the settings, each problem naming its field.
func (t Tenants) Validate() error {
	var errs []error
	if n := strings.Count(t.URL, placeholder); n != 1 {
		errs = append(errs, fmt.Errorf("url: has %s %d times instead of once, such as libsql://audit-%s.example.com", placeholder, n, placeholder))
	}
	cfg := t.config(strings.Repeat("x", maxLabel))
	errs = append(errs, cfg.Validate())
	if u, err := url.Parse(t.config(marker).URL); err == nil {
		switch label := labelOf(u.Hostname()); {
		case label == "":
			errs = append(errs, fmt.Errorf("url: %s is not in the host's name", placeholder))
		case len(label)-len(marker)+maxLabel > 63:
			errs = append(errs, fmt.Errorf("url: the host's label with %s is too long; beside it there is room for %d characters", placeholder, 63-maxLabel))
		}
	}
	return errors.Join(errs...)
}

// marker stands for a tenant while the template is checked.
const marker = "0tenant0"

// labelOf returns the label of a host's name in which the marker is.
func labelOf(host string) string {
	for label := range strings.SplitSeq(host, ".") {
		if strings.Contains(label, marker) {
			return label
		}
	}
	return ""
}

func (t Tenants) config(label string) Config {
	cfg := t.Config
	cfg.URL = strings.Replace(t.URL, placeholder, label, 1)
	cfg.NoLease = true
	if cfg.Readers == 0 {
		cfg.Readers = TenantReaders
	}
	return cfg
}

// Resolve opens the tenant's database, which must be there; its tables are made if the Config allows it. A name that no
// tenant may have is a permanent error; a database that isn't there may yet be made.
func (t Tenants) Resolve(ctx context.Context, tenant string) (sinkers.Sinker, error) {
	if err := firetrail.ValidateTenant(tenant); err != nil {
		return nil, sinkers.Permanent(err)
	}
	s, err := Open(ctx, t.config(TenantLabel(tenant)))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// A label of a host's name has 63 characters at the most, without regard to case; that leaves some for the template.
const (
	maxLabel   = 40
	shortLabel = "t"
	hashLabel  = "h"
)

// TenantLabel returns what stands for a tenant in a host's name: "t" and the name, in which small letters and digits stand
// for themselves and all else is written as -xx; or, where that has more than 40 characters, "h" and
// the first half of the name's SHA-256. So no name is anything but a part of a label, and two tenants never share one.
func TenantLabel(tenant string) string {
	b := []byte(shortLabel)
	for i := range len(tenant) {
		c := tenant[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b = append(b, c)
		} else {
			b = hex.AppendEncode(append(b, '-'), []byte{c})
		}
	}
	if len(b) > maxLabel {
		sum := sha256.Sum256([]byte(tenant))
		return hashLabel + hex.EncodeToString(sum[:16])
	}
	return string(b)
}
