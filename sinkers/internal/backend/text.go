package backend

import (
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/firetrail/firetrail"
)

// JSONText returns the value of a field as text. It shares the value's memory, which nobody changes while it is
// being written and which the drivers copy. The error names the field.
func JSONText(field string, v firetrail.Value) (string, error) {
	b := v.Bytes()
	if b == nil { // a Go value: never in a row of the worker's
		var err error
		if b, err = v.AppendJSON(nil); err != nil {
			return "", fmt.Errorf("%s: %w", field, err)
		}
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%s: %.80q is not valid UTF-8", field, b)
	}
	return unsafe.String(unsafe.SliceData(b), len(b)), nil
}
