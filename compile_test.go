package firetrail

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A misspelt or mistyped action must be an error of the compiler. Each line of bad is put into a program that
// compiles without it, and must fail there; so must nothing else.
func TestMistakesDoNotCompile(t *testing.T) {
	pkg := checkRootPackage(t)
	for _, good := range []string{
		`use(courseCreated.Event(firetrail.Input[course]{New: &course{}}))`,
		`use(firetrail.Event{Action: courseCreated.Name()})`,
		`name, err := firetrail.ParseName("a.b"); use(firetrail.Event{Action: name}); _ = err`,
	} {
		require.NoError(t, compile(t, pkg, good), good)
	}
	for bad, want := range map[string]string{
		`use("course.created")`:                                                       "cannot use",
		`use(firetrail.Event{Action: "course.created"})`:                              "cannot use",
		`const n = "course.created"; use(firetrail.Event{Action: n})`:                 "cannot use",
		`use(firetrail.Event{Action: firetrail.Name("course.created")})`:              "cannot convert",
		`use(firetrail.Event{Action: firetrail.Name{"course.created"}})`:              "unexported field",
		`use(firetrail.Event{Action: firetrail.Name{s: "course.created"}})`:           "cannot refer to unexported field s",
		`use(courseCraeted.Event(firetrail.Input[course]{}))`:                         "undefined: courseCraeted",
		`use(courseCreated.Event(firetrail.Input[user]{}))`:                           "cannot use",
		`use(courseCreated.Event(firetrail.Input[course]{New: &user{}}))`:             "cannot use",
		`use(courseCreated.Event(firetrail.Input[course]{New: course{}}))`:            "cannot use",
		`use(courseCreated.Event(firetrail.Input[course]{Action: "x.y"}))`:            "unknown field Action",
		`use(firetrail.Event{Action: courseCreated})`:                                 "cannot use",
		`var a firetrail.Action[course] = userCreated; _ = a`:                         "cannot use",
		`_ = firetrail.Action[course]("x.y")`:                                         "cannot convert",
		`_ = firetrail.Action[course](userCreated)`:                                   "cannot convert",
		`_ = firetrail.Action[course]{[0]*course{}, firetrail.Name{}}`:                "unexported field",
		`use(firetrail.Event{New: &course{}})`:                                        "cannot use",
		`use(firetrail.Event{New: []byte("{}")})`:                                     "cannot use",
		`courseCreated.Event(firetrail.Input[course]{}).Action.s = "x.y"`:             "undefined",
		`use(firetrail.Event{Outcome: "denied"})`:                                     "cannot use",
		`use(firetrail.Event{ID: "875240ac-e821-4fc6-a311-8c352a1d20f5"})`:            "cannot use",
		`use(firetrail.NewAction[course]("a.b").Event(firetrail.Input[course]{}), 1)`: "too many arguments",
	} {
		err := compile(t, pkg, bad)
		require.Error(t, err, "%s compiles", bad)
		var typed types.Error
		require.ErrorAs(t, err, &typed)
		require.Equal(t, badLine, typed.Fset.Position(typed.Pos).Line, "%s: %s", bad, err)
		require.ErrorContains(t, err, want, bad)
	}
}

const (
	program = `package main
import "github.com/firetrail/firetrail"
type course struct{}
type user struct{}
var courseCreated = firetrail.NewAction[course]("course.created")
var userCreated = firetrail.NewAction[user]("user.created")
func use(firetrail.Event) {}
func main() {
	%s
}
`
	badLine = 9
)

func compile(t *testing.T, root *types.Package, line string) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "main.go", fmt.Sprintf(program, line), 0)
	require.NoError(t, err, "%s does not even parse", line)
	conf := types.Config{Importer: only{root}}
	_, err = conf.Check("main", fset, []*ast.File{f}, nil)
	return err
}

// only is the importer of a program that imports nothing else.
type only struct{ pkg *types.Package }

func (o only) Import(path string) (*types.Package, error) {
	if path != o.pkg.Path() {
		return nil, fmt.Errorf("%s is not %s", path, o.pkg.Path())
	}
	return o.pkg, nil
}

// checkRootPackage type-checks this package's declarations from its files. Other packages are stand-ins that have
// nothing but the types an Event names; what that makes wrong inside this package does not matter here, since
// the real compiler has checked it, and the good lines above show that its interface is whole.
func checkRootPackage(t *testing.T) *types.Package {
	fset := token.NewFileSet()
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	var parsed []*ast.File
	for _, entry := range files {
		if name := entry.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			parsed = append(parsed, f)
		}
	}
	conf := types.Config{Importer: standIns{}, IgnoreFuncBodies: true, Error: func(error) {}}
	pkg, _ := conf.Check("github.com/firetrail/firetrail", fset, parsed, nil)
	require.NotNil(t, pkg)
	pkg.MarkComplete()
	return pkg
}

type standIns struct{}

func (standIns) Import(name string) (*types.Package, error) {
	pkg := types.NewPackage(name, path.Base(name))
	for _, typeName := range map[string][]string{"time": {"Time"}, "context": {"Context"}}[name] {
		obj := types.NewTypeName(token.NoPos, pkg, typeName, nil)
		types.NewNamed(obj, types.NewStruct(nil, nil), nil)
		pkg.Scope().Insert(obj)
	}
	pkg.MarkComplete()
	return pkg, nil
}
