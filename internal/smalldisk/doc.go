// Package smalldisk mounts small file systems for tests to fill, where that is allowed: on Linux, for root.
package smalldisk
