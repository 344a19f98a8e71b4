package cloudtrail

import (
	"encoding/json"
	"sort"
	"strings"

	"github.com/firetrail/firetrail"
)

// entity returns what was acted on; its type is left empty, and so the action's noun, where only the
// parameter is known.
func (r *record) entity() firetrail.Entity {
	for _, res := range r.Resources {
		if res.ARN != "" {
			return firetrail.Entity{Type: res.Type, ID: res.ARN}
		}
	}
	var params map[string]json.RawMessage
	if json.Unmarshal(r.RequestParameters, &params) != nil {
		return firetrail.Entity{} // null, or no object
	}
	names := make([]string, 0, len(params))
	for name := range params {
		if rank(name) < len(suffixes) {
			names = append(names, name)
		}
	}
	sort.Slice(names, func(i, j int) bool {
		if a, b := rank(names[i]), rank(names[j]); a != b {
			return a < b
		}
		return names[i] < names[j]
	})
	for _, name := range names {
		var id string
		if json.Unmarshal(params[name], &id) == nil && id != "" {
			return firetrail.Entity{ID: id}
		}
	}
	return firetrail.Entity{}
}

// suffixes are the ends of the names of parameters that identify something, the surest first.
var suffixes = []string{"arn", "bucketname", "identifier", "secretid", "id", "name", "bucket"}

// rank is the place of a parameter's name in suffixes; names that only look alike rank last.
func rank(name string) int {
	name = strings.ToLower(name)
	if name == "rolesessionname" || strings.HasSuffix(name, "token") {
		return len(suffixes)
	}
	for i, s := range suffixes {
		if strings.HasSuffix(name, s) {
			return i
		}
	}
	return len(suffixes)
}
