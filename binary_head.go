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
}

// ReadBinaryHead reads the head of an event in its binary form. It takes some nanoseconds and allocates
// nothing: whoever must know only whose an event is needn't decode it. A b that has a head may still be no event.
func ReadBinaryHead(b []byte) (BinaryHead, error) {
	if len(b) < binaryHeader || b[0] != binaryVersion {
		_, err := DecodeBinary(b)
		return BinaryHead{}, err
	}
	n := int(binary.LittleEndian.Uint16(b[offTextLens:])) // the tenant is the first of the texts
	if len(b)-binaryHeader < n {
		return BinaryHead{}, fmt.Errorf("binary event: %d bytes are too few for the tenant, which takes %d", len(b), n)
	}
	return BinaryHead{
		ID: ID(b[offID:offTime]), Recorded: int64(binary.LittleEndian.Uint64(b[offRecorded:])),
		Tenant: b[binaryHeader : binaryHeader+n : binaryHeader+n],
	}, nil
}
