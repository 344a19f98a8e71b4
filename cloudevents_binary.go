package firetrail

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// binary reads a record in binary mode.
func (d *decoder) binary(headers []Header, contentType string) error {
	if contentType != "" {
		d.seen |= 1 << attrDataContentType
		d.attrs[attrDataContentType] = contentType
	}
	for i := range headers {
		name, ok := strings.CutPrefix(headers[i].Key, "ce_")
		if !ok {
			continue
		}
		if !utf8.Valid(headers[i].Value) {
			return decodeError(name, errNotUTF8)
		}
		v := string(headers[i].Value)
		var err error
		if k := attrIndex(name); k < 0 {
			if name == "data" || name == wrappedBase64 {
				err = decodeErrorf(name, "is no attribute")
			} else {
				err = d.extraAttribute(name, appendString(nil, v))
			}
		} else if err = d.see(k); err == nil {
			d.attrs[k] = v
		}
		if err != nil {
			return err
		}
	}
	return d.binaryData(d.attrs[attrDataContentType])
}

// binaryData reads the value of a record in binary mode: JSON where the content type says so, or says
// nothing and the value is JSON; anything else is kept as text or as base64.
func (d *decoder) binaryData(contentType string) error {
	if len(d.b) == 0 {
		return nil
	}
	valid := utf8.Valid(d.b)
	asJSON := isJSON(contentType)
	if contentType == "" && valid {
		s := scanner{b: d.b}
		_, _, _, err := s.skip()
		asJSON = err == nil && s.end() == nil
	}
	switch {
	case asJSON && !valid:
		return decodeError("data", errNotUTF8)
	case asJSON:
		d.all = string(d.b)
		if err := d.data("data"); err != nil {
			return err
		}
		if err := d.end(); err != nil {
			return decodeError("data", err)
		}
	case valid:
		d.x.data.add(wrappedData, appendString(nil, string(d.b)))
	default:
		d.x.data.add(wrappedBase64, []byte(`"`+base64.StdEncoding.EncodeToString(d.b)+`"`))
	}
	return nil
}
