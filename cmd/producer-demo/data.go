package main

import (
	"bytes"
	_ "embed"
	"io"

	"github.com/klauspost/compress/zstd"
)

// bundled is made by "zstd --ultra -22 cloudtrail.ndjson"; data/README.md says where it comes from.
//
//go:embed data/cloudtrail.ndjson.zst
var bundled []byte

// openBundled returns the bundled records, a line each.
func openBundled() (io.ReadCloser, error) {
	r, err := zstd.NewReader(bytes.NewReader(bundled), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return r.IOReadCloser(), nil
}
