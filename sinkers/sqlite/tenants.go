package sqlite

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// TenantCacheBytes is the page cache of the writer, and TenantReaders the readers, of a tenant's database in [Tenants]:
// many are open at a time. Opened and written to, one takes 1 to 4 MB and at the most 2 + 3 descriptors.
const (
	TenantCacheBytes = 2 << 20
	TenantReaders    = 2
)

// Tenants keeps a database of each tenant's own in a directory, for a [sinkers.Router]: its methods are the
// Resolve and Tenants of a sinkers.RouterConfig.
//
// Measured with 5,000 tenants, 500,000 events and a pool of 50, written by 8 goroutines, a batch of 100 for each
// tenant: at the most 360 descriptors, 68 MB resident. The same by a worker, the tenants' events mixed: 385 descriptors,
// 295 MB, 3,300 events a second. Opening, making and closing is what takes the time there (some 7 ms a
// tenant on two busy cores): where more tenants than the pool has places for are active at a time, a larger pool is
// worth its memory.
type Tenants struct {
	// Dir is the directory. It must be there.
	Dir string
	// Config is that of each database; Path is ignored. CacheBytes, ReaderCacheBytes and Readers are by default
	// TenantCacheBytes, a quarter of it and TenantReaders.
	Config Config
}

// Resolve opens the tenant's database, and makes it where there is none and the Config allows it. A name that no
// tenant may have is a permanent error.
func (t Tenants) Resolve(ctx context.Context, tenant string) (sinkers.Sinker, error) {
	if err := firetrail.ValidateTenant(tenant); err != nil {
		return nil, sinkers.Permanent(err)
	}
	cfg := t.Config
	cfg.Path = filepath.Join(t.Dir, TenantFile(tenant))
	orDefault(&cfg.CacheBytes, TenantCacheBytes)
	orDefault(&cfg.ReaderCacheBytes, TenantCacheBytes/4)
	orDefault(&cfg.Readers, TenantReaders)
	s, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func orDefault(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

// Tenants yields the tenants that have a database in the directory.
func (t Tenants) Tenants(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := os.ReadDir(t.Dir)
		for _, e := range entries {
			if tenant, ok := tenantOf(e.Name()); ok && !e.IsDir() && !yield(tenant, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

// Lock takes the whole directory for this process, so that two workers don't take each other's tenants
// away; a second one that waits takes over when this one ends, however it ends. Release it with Close.
func (t Tenants) Lock(ctx context.Context, wait bool) (*DirLock, error) {
	switch info, err := os.Stat(t.Dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("sqlite: directory %s does not exist; make it, or correct the path", t.Dir)
	case err != nil:
		return nil, fmt.Errorf("sqlite: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("sqlite: %s is not a directory", t.Dir)
	}
	lock, err := takeLock(ctx, filepath.Join(t.Dir, "tenants"), wait)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %s: %w", t.Dir, err)
	}
	return &DirLock{lock}, nil
}

// DirLock is a lock on a directory of tenants' databases.
type DirLock struct{ lock interface{ Close() error } }

// Close releases the lock.
func (l *DirLock) Close() error { return l.lock.Close() }

// A tenant's file is "t-", the name, ".db". In the name small letters, digits, "-" and "_" stand for themselves, all
// else is written as %xx: so no name is a path, two tenants never share a file, not even where the file
// system takes A for a, and the name can be read back. One that would be too long for a file is "t~" and the
// name in base32.
const (
	tenantPrefix, longPrefix, tenantSuffix = "t-", "t~", ".db"

	maxEscaped = 200
	hexDigits  = "0123456789abcdef"
)

func longNames() *base32.Encoding { return base32.HexEncoding.WithPadding(base32.NoPadding) }

// TenantFile returns the name of a tenant's file.
func TenantFile(tenant string) string {
	var b strings.Builder
	b.WriteString(tenantPrefix)
	for i := range len(tenant) {
		if c := tenant[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	if b.Len() > maxEscaped {
		return longPrefix + strings.ToLower(longNames().EncodeToString([]byte(tenant))) + tenantSuffix
	}
	return b.String() + tenantSuffix
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// tenantOf is the reverse of TenantFile; it doesn't take what TenantFile would not have made.
func tenantOf(file string) (string, bool) {
	name, ok := strings.CutSuffix(file, tenantSuffix)
	if !ok {
		return "", false
	}
	var tenant []byte
	if long, ok := strings.CutPrefix(name, longPrefix); ok {
		tenant, _ = longNames().DecodeString(strings.ToUpper(long))
	} else if short, ok := strings.CutPrefix(name, tenantPrefix); ok {
		tenant = unescape(short)
	}
	t := string(tenant)
	return t, TenantFile(t) == file && firetrail.ValidateTenant(t) == nil
}

func unescape(s string) (b []byte) {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return b
}
