package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/clickhouse"
)

// clickHouseSettings say how to reach ClickHouse. Their names are those of clickhouse.Config's fields.
type clickHouseSettings struct {
	ClickHouseAddrs        []string `name:"clickhouse-addrs" group:"database" placeholder:"HOST:PORT" help:"ClickHouse servers; the first that answers is taken."`
	ClickHouseProtocol     string   `name:"clickhouse-protocol" group:"clickhouse" placeholder:"NAME" choice:"native,http" help:"Speak native or http (native)."`
	ClickHouseDatabase     string   `name:"clickhouse-database" group:"clickhouse" placeholder:"NAME" help:"Database with the tables; it must be there (default)."`
	ClickHouseUser         string   `name:"clickhouse-user" group:"clickhouse" placeholder:"NAME" help:"User to log in as (default)."`
	ClickHousePasswordFile string   `name:"clickhouse-password-file" group:"clickhouse" placeholder:"FILE" help:"File with the password, or give it in FIRETRAIL_CLICKHOUSE_PASSWORD."`
	ClickHouseCompression  string   `name:"clickhouse-compression" group:"clickhouse" placeholder:"NAME" choice:"lz4,zstd,none" help:"Compress by lz4, zstd or none (lz4)."`

	ClickHouseTLSEnabled    cli.Bool `name:"clickhouse-tls-enabled" group:"clickhouse" help:"Use TLS."`
	ClickHouseTLSCAFile     string   `name:"clickhouse-tls-ca-file" group:"clickhouse" placeholder:"FILE" help:"Authorities of the servers' certificates, PEM (the system's)."`
	ClickHouseTLSCertFile   string   `name:"clickhouse-tls-cert-file" group:"clickhouse" placeholder:"FILE" help:"Our own certificate, PEM."`
	ClickHouseTLSKeyFile    string   `name:"clickhouse-tls-key-file" group:"clickhouse" placeholder:"FILE" help:"Our certificate's private key, PEM."`
	ClickHouseTLSServerName string   `name:"clickhouse-tls-server-name" group:"clickhouse" placeholder:"NAME" help:"Name that the servers' certificates are for (the host dialled)."`
}

const clickHousePassword = "clickhouse-password"

func (s *clickHouseSettings) isClickHouse() bool { return len(s.ClickHouseAddrs) > 0 }

// check notes what is wrong with the settings, and returns how to open the database.
func (s *clickHouseSettings) check(p *program) opener {
	problems := &p.command.Problems
	c := clickhouse.Config{
		Addrs: s.ClickHouseAddrs, Protocol: s.ClickHouseProtocol, Database: s.ClickHouseDatabase,
		User: s.ClickHouseUser, Compression: s.ClickHouseCompression,
	}
	var err error
	c.TLS, err = kafkaclient.TLS{
		Enabled: s.ClickHouseTLSEnabled.On, CAFile: s.ClickHouseTLSCAFile,
		CertFile: s.ClickHouseTLSCertFile, KeyFile: s.ClickHouseTLSKeyFile, ServerName: s.ClickHouseTLSServerName,
	}.Client()
	tlsNames := strings.NewReplacer("tls.", "clickhouse-tls-", "ca_file", "ca-file", "cert_file", "cert-file",
		"key_file", "key-file", "server_name", "server-name")
	for _, e := range unjoin(err) {
		name, text, _ := strings.Cut(tlsNames.Replace(e.Error()), ": ")
		problems.Add(name, "%s", text)
	}
	if c.Password, err = s.password(p.env); err != nil {
		problems.Add("clickhouse-password-file", "%w", err)
	}
	for _, e := range unjoin(c.Validate()) {
		name, text, _ := strings.Cut(e.Error(), ": ")
		if name = "clickhouse-" + name; !problems.Has(name) { // a choice that is none is noted already
			problems.Add(name, "%s", text)
		}
	}
	return clickHouseOpener(c)
}

// password returns what the file or the environment has.
func (s *clickHouseSettings) password(env cli.Environment) (string, error) {
	password, _ := env.Lookup(cli.EnvName(clickHousePassword))
	if s.ClickHousePasswordFile == "" {
		return password, nil
	}
	if password != "" {
		return "", errors.New("set beside a password in " + cli.EnvName(clickHousePassword) + "; choose one")
	}
	b, err := os.ReadFile(s.ClickHousePasswordFile)
	return strings.TrimRight(string(b), "\r\n"), err
}

type clickHouseOpener clickhouse.Config

func (o clickHouseOpener) name() string { return "clickhouse" }

func (o clickHouseOpener) toRead(ctx context.Context) (sinkers.Sinker, error) {
	c := clickhouse.Config(o)
	c.ReadOnly = true
	return opened(clickhouse.Open(ctx, c))
}

func (o clickHouseOpener) toDelete(ctx context.Context) (sinkers.Sinker, error) {
	return opened(clickhouse.Open(ctx, clickhouse.Config(o)))
}

func (o clickHouseOpener) toWrite(ctx context.Context, _ *slog.Logger, r sinkers.Retention, _ func(error)) (sinkers.Sinker, error) {
	c := clickhouse.Config(o)
	c.Retention = r
	return opened(clickhouse.Open(ctx, c))
}
