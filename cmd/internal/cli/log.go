package cli

import (
	"io"
	"log/slog"
	"time"

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
	return logger(core, ""), func() { _ = zap.New(core).Sync() }
}

// kafkaEvery is how often the Kafka client may say the same thing.
const kafkaEvery = 10 * time.Second

// KafkaLogger is like Logger, for what the Kafka client has to say: unless the level is debug, only
// warnings and errors, and each of them once in 10 s. While brokers are away it says the same for every
// partition and try; the programs' own log says what matters of it.
func (s LogSettings) KafkaLogger(w io.Writer) *slog.Logger {
	level, err := zapcore.ParseLevel(s.LogLevel)
	if err != nil {
		level = zapcore.InfoLevel
	}
	if level == zapcore.DebugLevel {
		return logger(zapcore.NewCore(s.encoder(w), zapcore.Lock(zapcore.AddSync(w)), level), "kafka")
	}
	core := zapcore.NewCore(s.encoder(w), zapcore.Lock(zapcore.AddSync(w)), max(level, zapcore.WarnLevel))
	return logger(zapcore.NewSamplerWithOptions(core, kafkaEvery, 1, 0), "kafka")
}

func logger(core zapcore.Core, name string) *slog.Logger {
	return slog.New(zapslog.NewHandler(core, zapslog.WithName(name), zapslog.AddStacktraceAt(slog.Level(127))))
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

// file is what an *os.File has that tells a terminal.
type file interface{ Fd() uintptr }

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(file)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width returns the columns of the terminal w is, or otherwise if it is none.
func Width(w io.Writer, otherwise int) int {
	if f, ok := w.(file); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return otherwise
}
