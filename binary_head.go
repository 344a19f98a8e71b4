package firetrail

import (
	"encoding/binary"
	"fmt"
)

// BinaryHead is what of an event in its binary form can be read without decoding the rest.
type BinaryHead struct {
	ID       ID
	Recorded int64  // µs since 1970; 0 is none
	Tenant   []byte // a part of the bytes that were read
	Source   []byte // the same
}

// ReadBinaryHead reads the head of an event in its binary form. It takes some nanoseconds and allocates
// nothing: whoever must know only whose an event is needn't decode it. A b that has a head may still be no event.
func ReadBinaryHead(b []byte) (BinaryHead, error) {
	if len(b) < binaryHeader || b[0] != binaryVersion {
		_, err := DecodeBinary(b)
		return BinaryHead{}, err
	}
	source := int(binary.LittleEndian.Uint16(b[offSourceLen:]))
	n := int(binary.LittleEndian.Uint16(b[offTextLens:])) // the tenant is the first of the texts
	if len(b)-binaryHeader < n+source {
		return BinaryHead{}, fmt.Errorf("binary event: %d bytes are too few for the tenant and the source, which take %d", len(b), n+source)
	}
	return BinaryHead{
		ID: ID(b[offID:offTime]), Recorded: int64(binary.LittleEndian.Uint64(b[offRecorded:])),
		Tenant: b[binaryHeader : binaryHeader+n : binaryHeader+n], Source: b[len(b)-source:],
	}, nil
}
