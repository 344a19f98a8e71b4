package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// EnvPrefix is what the name of every environment variable begins with.
const EnvPrefix = "FIRETRAIL_"

// EnvName returns the environment variable of a setting.
func EnvName(setting string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// sources resolves what the command line left open from the environment, then from the file.
type sources struct {
	env        Environment
	file       map[string]entry
	unreadable bool              // the file
	from       map[string]string // by setting
	problems   []error
}

// open reads the file, whose path is a setting of the command line or the environment.
func (s *sources) open(ctx *kong.Context) error {
	for _, f := range ctx.Flags() {
		if f.Name != "config" {
			continue
		}
		path, _ := ctx.FlagValue(f).(string)
		if path == "" {
			path, _ = s.env.Lookup(EnvName("config"))
		}
		if path != "" {
			s.file, s.problems = readFile(path)
			s.unreadable = s.file == nil
		}
	}
	return nil
}

// Validate implements kong.Resolver. The file is checked by unknownKeys, which reports all of it.
func (s *sources) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (s *sources) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if f.Tag.Has("flagonly") || f.Name == "help" {
		return nil, nil
	}
	env := EnvName(f.Name)
	if v, ok := s.env.Lookup(env); ok && v != "" {
		s.from[f.Name] = env
		return v, nil
	}
	if e, ok := s.file[f.Name]; ok {
		s.from[f.Name] = e.from
		return e.value, nil
	}
	return nil, nil
}

// check notes the keys of the file that are settings of no command. Those of another command than the one
// given are fine: one file serves them all. It returns warnings of variables whose names are almost
// settings; others that begin with the prefix may well be there for another reason.
func (s *sources) check(app *kong.Application) (warnings []string) {
	known := map[string]bool{}
	_ = kong.Visit(app, func(n kong.Visitable, next kong.Next) error {
		if f, ok := n.(*kong.Flag); ok && f.Name != "help" {
			known[f.Name] = !f.Tag.Has("flagonly")
		}
		return next(nil)
	})
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(known)), func(n string) bool { return !known[n] })
	for _, key := range slices.Sorted(maps.Keys(s.file)) {
		if !known[key] {
			s.problems = append(s.problems, s.unknown(key, names))
		}
	}
	variables := []string{EnvName("config")}
	for _, n := range names {
		variables = append(variables, EnvName(n))
		if secret, ok := strings.CutSuffix(n, "-file"); ok && isSecret(secret) {
			variables = append(variables, EnvName(secret))
		}
	}
	for _, v := range s.env {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(variables, name) {
			continue
		}
		n := Nearest(name, variables)
		if n != "" && distance(name, n) <= max(1, len(strings.TrimPrefix(name, EnvPrefix))/4) {
			warnings = append(warnings, fmt.Sprintf("%s is no setting; did you mean %s?", name, n))
		}
	}
	return warnings
}

func (s *sources) unknown(key string, names []string) error {
	at := s.file[key].from
	if isSecret(key) {
		secret := key
		if !slices.Contains(names, secret+"-file") {
			secret = "sasl-password"
		}
		return fmt.Errorf("%s: a secret is not taken from here; use %s-file or %s (%s)", key, secret, EnvName(secret), at)
	}
	if n := Nearest(key, names); n != "" {
		return fmt.Errorf("%s: no such setting; did you mean %q? (%s)", key, n, at)
	}
	return fmt.Errorf("%s: no such setting (%s)", key, at)
}

// isSecret says whether a name is that of a secret. Those have no flag and stand in no file: they come from the
// environment, or from a file that the setting NAME-file names.
func isSecret(name string) bool {
	return strings.HasSuffix(name, "password") || strings.HasSuffix(name, "token")
}
