//go:build integration

package testenv

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// cached returns the directory name inside the cache, made by fill when it isn't there. Test binaries run
// side by side: one of them fills it, the others wait. A directory that fill failed on is not kept.
func cached(name string, fill func(dir string) error) (string, error) {
	root := os.Getenv("FIRETRAIL_TESTENV")
	if root == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for the servers; set FIRETRAIL_TESTENV: %w", err)
		}
		root = filepath.Join(user, "firetrail", "testenv")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	dir := filepath.Join(root, name)
	lock := flock.New(dir + ".lock")
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := os.Mkdir(part, 0o755); err != nil {
		return "", err
	}
	if err := fill(part); err != nil {
		return "", err
	}
	return dir, os.Rename(part, dir)
}
