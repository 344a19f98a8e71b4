package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// The types of settings. None of them fails while a value is decoded: kong would stop at the first bad
// one, and [Parse] reports all of them.
type (
	// Int is a whole number.
	Int struct {
		N int
		problem
	}
	// Float is a number.
	Float struct {
		F float64
		problem
	}
	// Duration is a Go duration, such as 500ms or 1m30s.
	Duration struct {
		time.Duration
		problem
	}
	// Size is a number of bytes, such as 8MiB or 1000000.
	Size struct {
		Bytes int64
		problem
	}
	// Bool is true or false; as a flag it needs no value.
	Bool struct {
		On bool
		problem
	}
	// Time is a time: RFC 3339, a date, or how long ago.
	Time struct {
		time.Time
		problem
	}
)

// problem is embedded in the types above and keeps what was wrong with the value.
type problem struct{ err error }

// Problem returns what was wrong with the value, nil when it was well.
func (p problem) Problem() error { return p.err }

// text returns the value, or an error where there is none, such as before another flag.
func text(ctx *kong.DecodeContext) (string, error) {
	var s string
	err := ctx.Scan.PopValueInto("string", &s)
	return strings.TrimSpace(s), err
}

// Decode implements kong.MapperValue.
func (v *Int) Decode(ctx *kong.DecodeContext) error {
	s, err := text(ctx)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.ReplaceAll(s, "_", ""))
	*v = Int{N: n}
	if err != nil {
		v.err = fmt.Errorf("%q is not a whole number", s)
	}
	return nil
}

// Decode implements kong.MapperValue.
func (v *Float) Decode(ctx *kong.DecodeContext) error {
	s, err := text(ctx)
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(s, 64)
	*v = Float{F: f}
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		*v = Float{problem: problem{fmt.Errorf("%q is not a number", s)}}
	}
	return nil
}

// Decode implements kong.MapperValue.
func (v *Duration) Decode(ctx *kong.DecodeContext) error {
	s, err := text(ctx)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(s)
	*v = Duration{Duration: d}
	if err != nil {
		v.err = fmt.Errorf("%q is not a duration, such as 500ms, 30s or 5m", s)
	}
	return nil
}

// Decode implements kong.MapperValue.
func (v *Bool) Decode(ctx *kong.DecodeContext) error {
	*v = Bool{On: true}
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil // the flag alone
	}
	s, err := text(ctx)
	if err != nil {
		return err
	}
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
	case "false", "no", "off", "0":
		v.On = false
	default:
		*v = Bool{problem: problem{fmt.Errorf("%q is neither true nor false", s)}}
	}
	return nil
}

// IsBool tells kong that the flag needs no value.
func (v *Bool) IsBool() bool { return true }

var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// Decode implements kong.MapperValue.
func (v *Size) Decode(ctx *kong.DecodeContext) error {
	s, err := text(ctx)
	if err != nil {
		return err
	}
	n, err := parseSize(s)
	*v = Size{Bytes: n}
	if err != nil {
		v.err = fmt.Errorf("%q is not a size, such as 8MiB, 500kB or 1048576", s)
	}
	return nil
}

func parseSize(s string) (int64, error) {
	number, unit := s, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f)*float64(unit) >= math.MaxInt64 {
		return 0, strconv.ErrRange
	}
	return int64(f * float64(unit)), nil
}

// String returns the size in the largest binary unit that divides it.
func (v Size) String() string {
	for i := 3; i >= 0; i-- {
		if u := units[i]; v.Bytes != 0 && v.Bytes%u.bytes == 0 {
			return strconv.FormatInt(v.Bytes/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(v.Bytes, 10) + "B"
}

// Decode implements kong.MapperValue.
func (v *Time) Decode(ctx *kong.DecodeContext) error {
	s, err := text(ctx)
	if err != nil {
		return err
	}
	t, err := parseTime(s, time.Now())
	*v = Time{Time: t, problem: problem{err}}
	return nil
}

func parseTime(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d.Abs()).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time: give 2006-01-02T15:04:05Z, 2006-01-02, or how long ago, such as 24h", s)
}
