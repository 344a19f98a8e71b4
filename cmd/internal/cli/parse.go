package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Environment is that of a process, as os.Environ returns it.
type Environment []string

// Lookup returns the value of a variable, and whether it is there.
func (e Environment) Lookup(name string) (string, bool) {
	for _, v := range slices.Backward(e) {
		if key, value, ok := strings.Cut(v, "="); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// Program is what [Program.Parse] needs to know of a command.
type Program struct {
	Name        string
	Description string
	Env         Environment
	Stdout      io.Writer
	Options     []kong.Option // such as the groups of its flags
}

// Command is a parsed command line.
type Command struct {
	// Path is the command that was given, such as "topics create".
	Path string
	// Help says that help or a version was asked for and printed: there is nothing more to do.
	Help bool
	// Problems are those of the settings; add to it, and return its Err.
	Problems Problems
	// Settings in effect, by name.
	Settings []Setting
	// Warnings tell of variables that are almost settings, and so do nothing.
	Warnings []string
}

// Setting is the value of one setting and where it comes from.
type Setting struct {
	Name, Value, From string
}

// Parse reads args, the environment and, where the grammar has a flag "config", the YAML file it
// names, into grammar, which is a kong one of this package's types of values. Of the tags kong doesn't
// know, `flagonly` keeps a flag out of environment and file, and `choice:"a,b"` lists what a string
// may be.
//
// The error is one of the command line itself; those of the settings are in Command.Problems.
func (p Program) Parse(grammar any, args []string) (*Command, error) {
	cmd := &Command{}
	src := &sources{env: p.Env, from: map[string]string{}}
	options := append([]kong.Option{
		kong.Name(p.Name), kong.Description(p.Description), kong.Writers(p.Stdout, io.Discard),
		kong.Exit(func(int) { cmd.Help = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100, NoAppDescFormat: true}),
		kong.Resolvers(src), kong.WithBeforeResolve(src.open),
		kong.PostBuild(groupHelp),
	}, p.Options...)
	parser, err := kong.New(grammar, options...)
	if err != nil {
		return nil, fmt.Errorf("grammar: %w", err)
	}
	ctx, err := parser.Parse(splitShort(args))
	if cmd.Help {
		return cmd, nil
	}
	if err != nil {
		return nil, misspelt(parser.Model, err)
	}
	if src.unreadable {
		// What the file would have set is not known: whatever else seems wrong may not be.
		cmd.Problems.AddError(errors.Join(src.problems...))
		return nil, cmd.Problems.Err()
	}
	cmd.Path = ctx.Command()
	given := map[*kong.Flag]bool{}
	for _, path := range ctx.Path {
		given[path.Flag] = path.Flag != nil && !path.Resolved
	}
	cmd.Warnings = src.check(parser.Model)
	for _, err := range src.problems {
		cmd.Problems.AddError(err)
	}
	for _, f := range ctx.Flags() {
		if given[f] {
			src.from[f.Name] = "flag"
		}
		cmd.take(f, src)
	}
	return cmd, nil
}

// splitShort takes "-o=json" for "-o json", as other programs do; kong would take "=json" for the value.
func splitShort(args []string) []string {
	var out []string
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		if len(a) > 2 && a[0] == '-' && a[1] != '-' && a[2] == '=' {
			out = append(out, a[:2], a[3:])
			continue
		}
		out = append(out, a)
	}
	return out
}

// misspelt makes an error of the command line one that says where to look, and what may have been meant.
func misspelt(app *kong.Application, err error) error {
	name := app.Name
	var pe *kong.ParseError
	if errors.As(err, &pe) && pe.Context != nil && pe.Context.Selected() != nil {
		name = pe.Context.Selected().FullPath()
	}
	text := err.Error()
	if flag, _, ok := strings.Cut(text, ": expected "); ok && strings.Contains(text, `but got "EOL"`) {
		text = flag + ": needs a value"
	}
	if word, ok := strings.CutPrefix(text, "unexpected argument "); ok {
		// Where a command is the default, kong takes a misspelt one for an argument of that.
		var commands []string
		for _, n := range app.Leaves(true) {
			commands = append(commands, strings.TrimPrefix(n.FullPath(), app.Name+" "))
		}
		name = app.Name
		if n := Nearest(word, commands); n != "" {
			text += fmt.Sprintf(", did you mean %q?", n)
		}
	}
	return hintError{errors.New(text), fmt.Sprintf("Run %q for what there is.", name+" --help")}
}

// Instead gives a setting that nobody has set another value than its default, for Settings, and reports whether it
// did: where the default depends on other settings.
func (c *Command) Instead(name, value string) bool {
	for i := range c.Settings {
		if s := &c.Settings[i]; s.Name == name && s.From == "default" {
			s.Value = value
			return true
		}
	}
	return false
}

func (c *Command) take(f *kong.Flag, src *sources) {
	if f.Name == "help" {
		return
	}
	from := src.from[f.Name]
	switch err := problemOf(f); {
	case err == nil:
	case from == "flag" || from == "":
		c.Problems.Add(f.Name, "%w", err)
	default:
		c.Problems.Add(f.Name, "%w (from %s)", err, from)
	}
	if f.Tag.Has("flagonly") {
		return
	}
	if from == "" {
		from = "default"
	}
	c.Settings = append(c.Settings, Setting{f.Name, show(f), from})
	slices.SortFunc(c.Settings, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
}

// groupHelp puts --help beside the flags of the group "general".
func groupHelp(k *kong.Kong) error {
	k.Model.HelpFlag.Help = "Print this."
	for _, f := range k.Model.Flags {
		if f.Group != nil && f.Group.Key == "general" {
			k.Model.HelpFlag.Group = f.Group
		}
	}
	return nil
}

func problemOf(f *kong.Flag) error {
	v := f.Target.Interface()
	if p, ok := v.(interface{ Problem() error }); ok {
		return p.Problem()
	}
	choice := f.Tag.Get("choice")
	s, ok := v.(string)
	if choice == "" || !ok {
		return nil
	}
	choices := strings.Split(choice, ",")
	if s == "" || slices.Contains(choices, s) {
		return nil
	}
	if n := Nearest(s, choices); n != "" {
		return fmt.Errorf("%q is none of %s; did you mean %q?", s, strings.Join(choices, ", "), n)
	}
	return fmt.Errorf("%q is none of %s", s, strings.Join(choices, ", "))
}

func show(f *kong.Flag) string {
	switch v := f.Target.Interface().(type) {
	case Int:
		return fmt.Sprint(v.N)
	case Float:
		return fmt.Sprint(v.F)
	case Bool:
		return fmt.Sprint(v.On)
	case Duration:
		return v.String()
	case Size:
		return v.String()
	case []string:
		return strings.Join(v, ",")
	default:
		return fmt.Sprint(v)
	}
}
