package main

import (
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/kafkaclient"
)

// The values of --format and --mode.
const (
	formatCloudTrail = "cloudtrail"
	formatFiretrail  = "firetrail"
	modeDurable      = "durable"
	modeVolatile     = "volatile"
)

type grammar struct {
	Input   string    `group:"events" placeholder:"FILE" help:"Read events from this file, a JSON object a line, - is stdin (the bundled ones)."`
	Format  string    `group:"events" default:"cloudtrail" choice:"cloudtrail,firetrail" help:"cloudtrail: AWS CloudTrail records; firetrail: what sink-worker query -o json prints."`
	Events  cli.Int   `group:"events" placeholder:"N" help:"Fire N events, repeating the input (each of it once)."`
	Rate    cli.Float `group:"events" placeholder:"N" help:"Fire N events a second (as fast as they are shipped)."`
	Tenants cli.Int   `group:"events" placeholder:"N" help:"Spread the events over N tenants (one for each AWS service)."`

	Mode      string       `group:"way" default:"durable" choice:"durable,volatile" help:"durable: the log is on disk and survives kill -9; volatile: in memory."`
	Brokers   []string     `group:"way" placeholder:"HOST:PORT" help:"Use this Kafka (a broker in this process)."`
	Topic     string       `group:"way" default:"audit.events" help:"Topic of the events; made if missing."`
	Dir       string       `group:"way" default:".firetrail/demo" help:"Directory of log, database, letters and broker."`
	Outage    cli.Duration `group:"way" placeholder:"D" help:"Take the broker in this process off the network for D in the middle."`
	DrainOnly bool         `group:"way" help:"Fire nothing; ship and store what an earlier, killed run left."`

	JSON bool `name:"json" group:"general" help:"Print the result as a JSON object, the last line of stdout."`
	cli.LogSettings

	Witness string `hidden:"" help:"Append the id of each event whose Fire has returned to this file."`
}

const description = `Audit events all the way: a durable producer, a broker, a sink worker and
SQLite, in this one process, fed with real events.

Exit codes: 0 every event is in the database once, 1 not so, 2 the command line
is wrong. After Ctrl-C, or a kill, --drain-only stores what was left.`

func kongOptions() []kong.Option {
	return []kong.Option{
		kong.Vars{"log_level": "warn"},
		kong.ExplicitGroups([]kong.Group{
			{Key: "events", Title: "Events"}, {Key: "way", Title: "Their way"}, {Key: "general", Title: "General"},
		}),
	}
}

// check notes everything that is wrong with the settings.
func (g *grammar) check(p *cli.Problems) {
	if g.Events.N < 0 {
		p.Add("events", "%d is negative; leave it out for the input as it is", g.Events.N)
	}
	if g.Rate.F < 0 {
		p.Add("rate", "%v is negative; leave it out for as fast as possible", g.Rate.F)
	}
	if g.Tenants.N < 0 || g.Tenants.N > 1_000_000 {
		p.Add("tenants", "%d is outside 1 to 1000000; leave it out for one for each AWS service", g.Tenants.N)
	}
	if g.Dir == "" {
		p.Add("dir", "missing; name a directory")
	}
	if g.Topic == "" || strings.ContainsAny(g.Topic, " /,") {
		p.Add("topic", "%q is no name of a topic", g.Topic)
	}
	if len(g.Brokers) > 0 {
		p.AddError(kafkaclient.Config{Brokers: g.Brokers}.Validate())
	}
	g.contradictions(p)
}

func (g *grammar) contradictions(p *cli.Problems) {
	if g.Outage.Duration < 0 {
		p.Add("outage", "%s is negative", g.Outage)
	}
	if g.Outage.Duration > 0 && len(g.Brokers) > 0 {
		p.Add("outage", "only the broker in this process can be taken off the network; leave out --brokers or --outage")
	}
	if g.Format == formatFiretrail && g.Input == "" {
		p.Add("format", "the bundled events are CloudTrail's; give --input, or leave out --format")
	}
	if !g.DrainOnly {
		return
	}
	if g.Mode == modeVolatile {
		p.Add("mode", "volatile leaves nothing to drain; leave out --mode or --drain-only")
	}
	for name, given := range map[string]bool{
		"input": g.Input != "", "events": g.Events.N != 0, "rate": g.Rate.F != 0, "tenants": g.Tenants.N != 0,
		"outage": g.Outage.Duration != 0,
	} {
		if given {
			p.Add(name, "contradicts --drain-only, which fires nothing; leave out one of the two")
		}
	}
}

func (g *grammar) path(name string) string { return filepath.Join(g.Dir, name) }
