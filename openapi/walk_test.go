package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// A walk goes through every operation of the document, so that a new one is
// walked with the others and no test has to know of it.
type walk struct {
	*bench
	doc *huma.OpenAPI
}

// request is what a walk sends; a test changes one thing of a good one.
type request struct {
	path  string
	query url.Values
	body  map[string]any // nil is none
}

func (r request) target() string {
	if len(r.query) == 0 {
		return r.path
	}
	return r.path + "?" + r.query.Encode()
}

func (r request) text(t testing.TB) string {
	t.Helper()
	if r.body == nil {
		return ""
	}
	b, err := json.Marshal(r.body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// canary stands in every wrong value: an answer must not repeat it.
const canary = "c4n4ry"

// good returns a request that is well formed, about things that do not exist.
func (w walk) good(op *huma.Operation) request {
	r := request{path: op.Path, query: url.Values{}}
	for _, p := range op.Parameters {
		switch {
		case p.In == "path":
			r.path = strings.ReplaceAll(r.path, "{"+p.Name+"}", "nothing")
		case p.In == "query" && p.Required:
			r.query.Set(p.Name, fmt.Sprint(w.value(p.Schema)))
		}
	}
	if s := w.bodyOf(op); s != nil {
		r.body = w.value(s).(map[string]any)
	}
	return r
}

// bodyOf is the schema of an operation's body; nil is none.
func (w walk) bodyOf(op *huma.Operation) *huma.Schema {
	if op.RequestBody == nil {
		return nil
	}
	return w.resolve(op.RequestBody.Content["application/json"].Schema)
}

func (w walk) resolve(s *huma.Schema) *huma.Schema {
	if s.Ref != "" {
		return w.doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// value is a right value of a schema, with nothing that is not required.
func (w walk) value(s *huma.Schema) any {
	s = w.resolve(s)
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type == "object":
		o := map[string]any{}
		for _, name := range s.Required {
			o[name] = w.value(s.Properties[name])
		}
		return o
	case s.Type == "array":
		return []any{}
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Type == "boolean":
		return true
	case s.Type == "string":
		return "value"
	}
	return 1
}

// wrong returns wrong values of a schema, by what is wrong with them.
func (w walk) wrong(s *huma.Schema) map[string]any {
	s = w.resolve(s)
	bad := map[string]any{}
	switch s.Type {
	case "string":
		bad["a number"] = 7
	case "integer", "number", "boolean", "object", "array":
		bad["a text"] = canary
	}
	if len(s.Enum) > 0 {
		bad["no choice"] = canary
	}
	if s.MaxLength != nil {
		bad["too long"] = canary + strings.Repeat("x", *s.MaxLength)
	}
	if s.MinLength != nil && *s.MinLength > 0 {
		bad["too short"] = ""
	}
	if s.Pattern != "" {
		for _, text := range []string{"~" + canary, "ü" + canary} {
			if !regexp.MustCompile(s.Pattern).MatchString(text) {
				bad["another form"] = text
			}
		}
	}
	if s.Minimum != nil {
		bad["too small"] = *s.Minimum - 1
	}
	if s.Maximum != nil {
		bad["too large"] = *s.Maximum + 1
	}
	if s.MaxItems != nil {
		bad["too many"] = make([]any, *s.MaxItems+1)
	}
	if s.MaxProperties != nil {
		many := map[string]any{}
		for i := range *s.MaxProperties + 1 {
			many[fmt.Sprint(canary, i)] = "x"
		}
		bad["too many"] = many
	}
	return bad
}

// with returns a copy of an object in which one field, "a.b.c", is set; its
// parents have all that they need.
func (w walk) with(s *huma.Schema, object map[string]any, field string, value any) map[string]any {
	out := maps.Clone(object)
	name, rest, deeper := strings.Cut(field, ".")
	if deeper {
		inner := w.resolve(s.Properties[name])
		parent, _ := out[name].(map[string]any)
		if parent == nil {
			parent = w.value(inner).(map[string]any)
		}
		value = w.with(inner, parent, rest, value)
	}
	out[name] = value
	return out
}

// fields calls see for every field of a schema, with its path.
func (w walk) fields(s *huma.Schema, path string, see func(path string, field *huma.Schema)) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := w.resolve(s.Properties[name])
		see(path+name, field)
		w.fields(field, path+name+".", see)
	}
}
