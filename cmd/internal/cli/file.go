package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// entry is one setting of a file.
type entry struct {
	value string
	from  string // FILE:LINE
}

// readFile reads a YAML file into its settings by flag name. It reports every line that it can't take.
func readFile(path string) (map[string]entry, []error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{fmt.Errorf("config: cannot read the file: %w", err)}
	}
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, []error{fmt.Errorf("config: %s is not YAML: %s", path, yaml.FormatError(err, false, false))}
	}
	r := fileReader{path: path, entries: map[string]entry{}}
	for i, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			r.problem(doc.Body, "", "a second document; put all settings into one")
			break
		}
		r.read("", doc.Body)
	}
	return r.entries, r.problems
}

type fileReader struct {
	path     string
	entries  map[string]entry
	problems []error
}

func (r *fileReader) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", r.path, n.GetToken().Position.Line)
}

func (r *fileReader) problem(n ast.Node, name, text string) {
	if name != "" {
		text = name + ": " + text
	}
	r.problems = append(r.problems, fmt.Errorf("%s (%s)", text, r.at(n)))
}

func (r *fileReader) read(name string, n ast.Node) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			r.pair(name, v)
		}
	case *ast.MappingValueNode:
		r.pair(name, n)
	case *ast.NullNode, *ast.CommentGroupNode:
		// "key:" with nothing after it sets nothing.
	default:
		list, isList := n.(*ast.SequenceNode)
		switch {
		case name == "":
			r.problem(n, "", "want lines of \"setting: value\"")
		case isList:
			r.list(name, list)
		default:
			r.set(name, n)
		}
	}
}

func (r *fileReader) pair(name string, v *ast.MappingValueNode) {
	key := v.Key.GetToken().Value
	if name != "" {
		key = name + "-" + key
	}
	r.read(key, v.Value)
}

func (r *fileReader) set(name string, n ast.Node) {
	value, err := scalar(n)
	if err != nil {
		r.problem(n, name, err.Error())
		return
	}
	if e, ok := r.entries[name]; ok {
		r.problem(n, name, "set twice; the first is at "+e.from)
		return
	}
	r.entries[name] = entry{value, r.at(n)}
}

func (r *fileReader) list(name string, n *ast.SequenceNode) {
	var values []string
	for _, v := range n.Values {
		s, err := scalar(v)
		if err == nil && strings.Contains(s, ",") {
			err = errors.New("a comma in a list's entry; give one entry a line")
		}
		if err != nil {
			r.problem(v, name, err.Error())
			return
		}
		values = append(values, s)
	}
	r.entries[name] = entry{strings.Join(values, ","), r.at(n)}
}

// scalar returns a node's text as it was written: the setting's own type reads it, not YAML's.
func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	}
	return "", fmt.Errorf("want one value, not %s", strings.ToLower(n.Type().YAMLName()))
}
