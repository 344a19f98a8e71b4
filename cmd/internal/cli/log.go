package cli

import (
	"io"
	"log/slog"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// LogSettings are the flags of logging, to be embedded in a grammar.
type LogSettings struct {
	LogLevel  string `group:"general" default:"${log_level}" choice:"debug,info,warn,error" placeholder:"LEVEL" help:"Log debug, info, warn or error and above (${log_level})."`
	LogFormat string `group:"general" default:"auto" choice:"auto,console,json" placeholder:"FORMAT" help:"Log as console or json; auto: console on a terminal (auto)."`
}

// Logger returns a logger that writes to w through zap, and a function that flushes it.
func (s LogSettings) Logger(w io.Writer) (*slog.Logger, func()) {
	level, err := zapcore.ParseLevel(s.LogLevel)
	if err != nil {
		level = zapcore.InfoLevel
	}
	core := zapcore.NewCore(s.encoder(w), zapcore.Lock(zapcore.AddSync(w)), level)
	log := slog.New(zapslog.NewHandler(core, zapslog.AddStacktraceAt(slog.Level(127))))
	return log, func() { _ = zap.New(core).Sync() }
}

func (s LogSettings) encoder(w io.Writer) zapcore.Encoder {
	if s.LogFormat == "console" || s.LogFormat != "json" && IsTerminal(w) {
		c := zap.NewDevelopmentEncoderConfig()
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		c.EncodeDuration = zapcore.StringDurationEncoder
		if IsTerminal(w) {
			c.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		return zapcore.NewConsoleEncoder(c)
	}
	c := zap.NewProductionEncoderConfig()
	c.TimeKey, c.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	c.EncodeDuration = zapcore.StringDurationEncoder
	return zapcore.NewJSONEncoder(c)
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width returns the columns of the terminal w is, or otherwise if it is none.
func Width(w io.Writer, otherwise int) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return otherwise
}
