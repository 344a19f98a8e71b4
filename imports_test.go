package firetrail_test

import (
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/firetrail/firetrail"

// imports is who may import what of ours, by directory; "" is the root package. A directory covers those
// below it, unless they have a line of their own. ARCHITECTURE.md says what lives where.
var imports = map[string][]string{
	"":                          {},
	"wal":                       {},
	"kafkaclient":               {},
	"dlq":                       {"", "kafkaclient"},
	"producer":                  {"", "wal", "dlq", "kafkaclient"},
	"producer/producertest":     {"", "producer"},
	"httpaudit":                 {""},
	"sinkers":                   {""},
	"sinkers/internal/backend":  {"", "sinkers"},
	"sinkers/internal/sqlstore": {"", "sinkers", "sinkers/internal/backend"},
	"sinkers/sqlite":            {"", "sinkers", "sinkers/internal/backend", "sinkers/internal/sqlstore"},
	"sinkers/libsql":            {"", "sinkers", "sinkers/internal/backend", "sinkers/internal/sqlstore"},
	"sinkers/clickhouse":        {"", "sinkers", "sinkers/internal/backend"},
	"sinkers/sinkertest":        {"", "sinkers"},
	"consumer":                  {"", "dlq", "sinkers", "kafkaclient"},
	"internal/admin":            {"", "consumer", "dlq"},
	"internal/embedded":         {},
	"internal/testenv":          {"", "sinkers", "wal"},
	"internal/crashtest":        {}, // tests alone
	"internal/race":             {},
	"internal/smalldisk":        {}, // tests alone
	"internal/chaos":            {}, // tests alone
	"cmd":                       {anyOfOurs},
}

const anyOfOurs = "*"

// programs and tests alone may import these.
var (
	demoOnly  = "internal/embedded" // by cmd/producer-demo
	testsOnly = "internal/testenv"
)

// notInProducer is what a program that only produces must not link.
var notInProducer = []string{
	"database/sql", "modernc.org/sqlite", "github.com/ClickHouse", "github.com/tursodatabase", // databases
	"github.com/twmb/franz-go/pkg/kfake", "github.com/stretchr/testify", // tests
	"github.com/gin-gonic", "github.com/labstack", "google.golang.org/grpc", // web frameworks
	"github.com/prometheus", "go.opentelemetry.io", "go.uber.org/zap", "github.com/alecthomas/kong",
}

// goPackage is a directory with Go files: what its files import, tests apart.
type goPackage struct {
	dir     string
	imports []string
}

// packages parses every file of the module, whatever its build constraints: what is imported on another
// system counts too. Nested modules are left out; they have go.mod files of their own.
func packages(t *testing.T) map[string]*goPackage {
	t.Helper()
	out := map[string]*goPackage{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file == "." {
				return nil
			}
			nested, _ := filepath.Glob(filepath.Join(file, "go.mod"))
			if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || len(nested) > 0 {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		for _, c := range f.Comments {
			if c.Pos() < f.Package && constraint.IsGoBuild(c.List[0].Text) && strings.Contains(c.List[0].Text, "ignore") {
				return nil // a program to be run by hand, part of no package
			}
		}
		dir := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), ".")
		p := out[dir]
		if p == nil {
			p = &goPackage{dir: dir}
			out[dir] = p
		}
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if !slices.Contains(p.imports, imported) {
				p.imports = append(p.imports, imported)
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, out)
	return out
}

// ours returns the directory of an import of this module.
func ours(imported string) (string, bool) {
	if imported == module {
		return "", true
	}
	return strings.CutPrefix(imported, module+"/")
}

// allowed returns the line of the table for a directory.
func allowed(table map[string][]string, dir string) (line []string, ok bool) {
	for d := dir; ; d = strings.TrimPrefix(path.Dir(d), ".") {
		if line, ok := table[d]; ok && (d != "" || dir == "") {
			return line, true
		}
		if d == "" {
			return nil, false
		}
	}
}

// mayServe are the packages besides the commands that may import net/http: those that serve it, and the sink whose
// database speaks it.
var mayServe = []string{"httpaudit", "internal/admin", "sinkers/clickhouse", testsOnly}

// violations returns what the packages do that the table does not allow.
func violations(table map[string][]string, all map[string]*goPackage) []string {
	var out []string
	for _, dir := range slices.Sorted(maps.Keys(all)) {
		may, ok := allowed(table, dir)
		if !ok {
			out = append(out, name(dir)+" is not in the table of imports_test.go")
			continue
		}
		for _, imported := range all[dir].imports {
			to, isOurs := ours(imported)
			switch {
			case !isOurs:
				if imported == "net/http" && !slices.Contains(mayServe, dir) && !strings.HasPrefix(dir, "cmd/") {
					out = append(out, name(dir)+" imports net/http, which only "+strings.Join(mayServe, ", ")+" and the commands may")
				}
			case to == testsOnly:
				out = append(out, name(dir)+" imports "+to+", which only tests may")
			case to == demoOnly && !strings.HasPrefix(dir, "cmd/producer-demo"):
				out = append(out, name(dir)+" imports "+to+", which only cmd/producer-demo may")
			case sameTree(dir, to):
			case !slices.Contains(may, anyOfOurs) && !slices.Contains(may, to):
				out = append(out, name(dir)+" imports "+name(to)+", which the table of imports_test.go does not allow")
			}
		}
	}
	return out
}

// sameTree says whether both directories are parts of one line of the table: a package and its internals.
func sameTree(dir, to string) bool {
	top, _, ok := strings.Cut(to, "/internal/")
	return ok && top != "" && (dir == top || strings.HasPrefix(dir, top+"/internal/")) && imports[to] == nil
}

func name(dir string) string {
	if dir == "" {
		return "the root package"
	}
	return dir
}

// reached returns everything that a package imports, through ours only: what those of others import is
// their affair, but for what is named in a list.
func reached(all map[string]*goPackage, dir string) map[string][]string {
	out := map[string][]string{} // import → by whom
	seen := map[string]bool{dir: true}
	for queue := []string{dir}; len(queue) > 0; queue = queue[1:] {
		p := all[queue[0]]
		if p == nil {
			continue
		}
		for _, i := range p.imports {
			out[i] = append(out[i], name(p.dir))
			if to, ok := ours(i); ok && !seen[to] {
				seen[to] = true
				queue = append(queue, to)
			}
		}
	}
	return out
}

// heavy returns the imports of what is reached from dir that are in the list.
func heavy(all map[string]*goPackage, dir string, list []string) []string {
	var out []string
	for imported, by := range reached(all, dir) {
		for _, bad := range list {
			if imported == bad || strings.HasPrefix(imported, bad+"/") {
				out = append(out, name(dir)+" reaches "+imported+" through "+strings.Join(by, ", "))
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestImports(t *testing.T) {
	require.Empty(t, violations(imports, packages(t)))
}

func TestProducerStaysLight(t *testing.T) {
	all := packages(t)
	for _, dir := range []string{"", "wal", "kafkaclient", "dlq", "producer", "httpaudit"} {
		require.Empty(t, heavy(all, dir, notInProducer))
	}
	require.Empty(t, heavy(all, "producer", []string{"net/http"}))
}

// The two tests above can fail.
func TestImportsAreSeen(t *testing.T) {
	all := map[string]*goPackage{
		"":                  {dir: "", imports: []string{"fmt", module + "/wal"}},
		"wal":               {dir: "wal", imports: []string{"net/http", module + "/internal/testenv"}},
		"producer":          {dir: "producer", imports: []string{module + "/wal", module + "/dlq", module + "/wal/internal/x"}},
		"dlq":               {dir: "dlq", imports: []string{"database/sql", module + "/internal/embedded"}},
		"cmd/producer-demo": {dir: "cmd/producer-demo", imports: []string{module + "/internal/embedded", module + "/consumer"}},
		"sinkers/sqlite/x":  {dir: "sinkers/sqlite/x", imports: []string{module + "/sinkers"}},
		"elsewhere":         {dir: "elsewhere"},
	}
	require.Equal(t, []string{
		"the root package imports wal, which the table of imports_test.go does not allow",
		"dlq imports internal/embedded, which only cmd/producer-demo may",
		"elsewhere is not in the table of imports_test.go",
		"producer imports wal/internal/x, which the table of imports_test.go does not allow",
		"wal imports net/http, which only " + strings.Join(mayServe, ", ") + " and the commands may",
		"wal imports internal/testenv, which only tests may",
	}, violations(imports, all))
	require.Equal(t, []string{"producer reaches database/sql through dlq"}, heavy(all, "producer", notInProducer))
	require.NotEmpty(t, packages(t)["kafkaclient"].imports, "the files are read")
}
