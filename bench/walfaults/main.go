// Command walfaults puts logs that one may find in Go through the same faults, beside Firetrail's: the last 100 bytes
// cut, one bit flipped, the disk full for a while, the directory opened twice. It prints the table of docs/peers.md.
//
//	go run ./walfaults
//
// Each log writes 4,000 records of 400 bytes, each with a checksum of its own, by which the reader tells a record from
// garbage. Every step is a process of its own, since some of them panic or hang. The disk that fills up is a
// small tmpfs, for which it takes root; without, that column stays empty.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

func main() {
	var err error
	if len(os.Args) == 4 {
		err = child(os.Args[1], os.Args[2], os.Args[3])
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "walfaults:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	dir, err := os.MkdirTemp("", "walfaults-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(os.Stdout, "| | last 100 B cut | one bit flipped | disk full, then space | second open |")
	fmt.Fprintln(os.Stdout, "|---|---|---|---|---|")
	for i, l := range logs() {
		t := trial{log: l, dir: fmt.Sprint(dir, "/", i)}
		fmt.Fprintf(os.Stdout, "| %s %s | %s | %s | %s | %s |\n", l.name, version(l.module), t.cut(), t.flip(), t.full(), t.second())
	}
	return nil
}

// version is that of a module this program is built with.
func version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == module {
			version, _, _ := strings.Cut(m.Version, "-0.2") // of one that has none it is a date and a commit
			if strings.HasPrefix(version, "v0.0.0") {
				return ""
			}
			return strings.TrimPrefix(version, "v")
		}
	}
	return ""
}
