package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// loggers write a line for each event: to a file at once, or to a buffer in memory first.
func loggers(s *settings, e *sample) ([]candidate, error) {
	var files []*os.File
	var err error
	for _, name := range []string{"zap", "zap-strings", "zap-buffered", "slog", "zerolog"} {
		f, openErr := os.Create(filepath.Join(s.dir, name+".log"))
		files, err = append(files, f), errors.Join(err, openErr)
	}
	if err != nil {
		return nil, err
	}
	buffered := &zapcore.BufferedWriteSyncer{WS: files[2]}
	return []candidate{
		{name: "zap to a file, values as JSON", kind: inFile, fire: zapFire(zapcore.Lock(files[0]), e, zapJSON), close: files[0].Close},
		{name: "zap to a file, values as strings", kind: inFile, fire: zapFire(zapcore.Lock(files[1]), e, zap.ByteString), close: files[1].Close},
		{name: "zap to a buffer of 256 KiB", kind: inMemory, fire: zapFire(buffered, e, zapJSON), close: func() error {
			return errors.Join(buffered.Stop(), files[2].Close())
		}},
		{name: "slog to a file", kind: inFile, fire: slogFire(files[3], e), close: files[3].Close},
		{name: "zerolog to a file", kind: inFile, fire: zerologFire(files[4], e), close: files[4].Close},
	}, nil
}

func zapJSON(key string, b []byte) zap.Field { return zap.Reflect(key, rawJSON(b)) }

type rawJSON []byte

// MarshalJSON makes an object of it in the line.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

func zapFire(to zapcore.WriteSyncer, e *sample, value func(string, []byte) zap.Field) func() {
	l := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), to, zap.InfoLevel))
	return func() {
		l.Info(e.action, zap.String("id", newID()), zap.String("tenant", e.tenant), zap.String("actor_type", "user"),
			zap.String("actor", e.actor), zap.String("entity", e.entity), value("old", e.beforeJSON), value("new", e.afterJSON),
			zap.String("ip", e.ip), zap.String("user_agent", e.agent), zap.String("request_id", e.request))
	}
}

func slogFire(to *os.File, e *sample) func() {
	l := slog.New(slog.NewJSONHandler(to, nil))
	return func() {
		l.LogAttrs(context.Background(), slog.LevelInfo, e.action, slog.String("id", newID()), slog.String("tenant", e.tenant),
			slog.String("actor_type", "user"), slog.String("actor", e.actor), slog.String("entity", e.entity),
			slog.Any("old", e.beforeJSON), slog.Any("new", e.afterJSON),
			slog.String("ip", e.ip), slog.String("user_agent", e.agent), slog.String("request_id", e.request))
	}
}

func zerologFire(to *os.File, e *sample) func() {
	l := zerolog.New(to).With().Timestamp().Logger()
	return func() {
		l.Info().Str("id", newID()).Str("tenant", e.tenant).Str("actor_type", "user").Str("actor", e.actor).Str("entity", e.entity).
			RawJSON("old", e.beforeJSON).RawJSON("new", e.afterJSON).Str("ip", e.ip).Str("user_agent", e.agent).
			Str("request_id", e.request).Msg(e.action)
	}
}
