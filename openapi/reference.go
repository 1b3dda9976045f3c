package openapi

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// guide is the part of docs/API.md that is written by hand; a test runs its
// commands.
//
//go:embed guide.md
var guide string

// Markdown returns docs/API.md: the guide, and a reference of every operation
// of the document and of the types that they use.
func Markdown(doc *huma.OpenAPI) string {
	w := &reference{shared: doc.Components.Responses}
	w.WriteString(strings.Replace(guide, "ROLES\n", roleTable(), 1))
	w.line("\n## Operations\n")
	tags, rows := w.operations(doc.Paths)
	for _, tag := range tags {
		w.line("### %s\n", tag)
		for _, r := range rows[tag] {
			w.operation(r)
		}
	}
	if len(doc.Webhooks) > 0 {
		w.line("## Webhooks\n")
		_, hooks := w.operations(doc.Webhooks)
		for _, tag := range slices.Sorted(maps.Keys(hooks)) {
			for _, r := range hooks[tag] {
				w.operation(r)
			}
		}
	}
	w.line("## Types\n")
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		w.schema(name, schemas[name])
	}
	return strings.TrimRight(w.String(), "\n") + "\n"
}

type reference struct {
	strings.Builder
	shared map[string]*huma.Response // those that operations refer to
}

func (w *reference) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// route is an operation with its place.
type route struct {
	path string
	op   *huma.Operation
}

// operations returns the tags of the operations, and the operations of each
// by path and method.
func (w *reference) operations(paths map[string]*huma.PathItem) (tags []string, rows map[string][]route) {
	rows = map[string][]route{}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			tag := ""
			if len(op.Tags) > 0 {
				tag = op.Tags[0]
			}
			rows[tag] = append(rows[tag], route{path, op})
		}
	}
	return slices.Sorted(maps.Keys(rows)), rows
}

func (w *reference) operation(r route) {
	w.line("#### %s %s\n", cmp.Or(r.op.Method, http.MethodPost), r.path)
	w.line("%s.", strings.TrimSuffix(r.op.Summary, "."))
	if r.op.Description != "" {
		w.line("\n%s", r.op.Description)
	}
	if len(r.op.Security) == 0 {
		w.line("\nNeeds no key.")
	}
	if len(r.op.Parameters) > 0 {
		w.line("\n| parameter | in | type | |\n|---|---|---|---|")
		for _, p := range r.op.Parameters {
			w.line("| `%s` | %s | %s | %s |", p.Name, p.In, kind(p.Schema), cell(cmp.Or(p.Description, p.Schema.Description)))
		}
	}
	if body := r.op.RequestBody; body != nil {
		w.line("\nBody: %s", content(body.Content))
	}
	w.line("\n| status | answer |\n|---|---|")
	for _, status := range slices.Sorted(maps.Keys(r.op.Responses)) {
		res := r.op.Responses[status]
		if name, ok := strings.CutPrefix(res.Ref, "#/components/responses/"); ok {
			res = w.shared[name]
		}
		w.line("| %s | %s |", status, strings.TrimSuffix(cell(res.Description)+": "+content(res.Content), ": "))
	}
	w.line("")
}

func (w *reference) schema(name string, s *huma.Schema) {
	w.line("### %s\n", name)
	if s.Description != "" {
		w.line("%s\n", s.Description)
	}
	if len(s.Properties) == 0 {
		w.line("%s\n", kind(s))
		return
	}
	w.line("| field | type | |\n|---|---|---|")
	for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[field]
		note := p.Description
		if slices.Contains(s.Required, field) {
			note = strings.TrimSuffix("always there. "+note, ". ")
		}
		if len(p.Examples) > 0 {
			note = strings.TrimPrefix(fmt.Sprintf("%s, for example `%s`", note, value(p.Examples[0])), ", ")
		}
		of := kind(p)
		if p.Nullable {
			of += " or null"
		}
		w.line("| `%s` | %s | %s |", field, of, cell(note))
	}
	w.line("")
}

// content names the types of a body.
func content(types map[string]*huma.MediaType) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(types)) {
		t := kind(types[name].Schema)
		if name != "application/json" {
			t += " as `" + name + "`"
		}
		list = append(list, t)
	}
	return strings.Join(list, ", ")
}

// kind is a type in a few words, with a link where it has a name.
func kind(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	case len(s.AnyOf) > 0:
		all := make([]string, len(s.AnyOf))
		for i, one := range s.AnyOf {
			all[i] = kind(one)
		}
		return strings.Join(all, " or ")
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprintf("`%v`", v)
		}
		return strings.Join(values, ", ")
	case s.Items != nil:
		return "list of " + kind(s.Items)
	case s.Format != "" && s.Type != "integer" && s.Type != "number":
		return s.Type + " (" + s.Format + ")"
	case s.Type == "":
		return "anything"
	}
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		return "object of " + kind(more)
	}
	text := s.Type
	if s.Minimum != nil {
		text += ", from " + value(*s.Minimum)
	}
	if s.Maximum != nil {
		text += ", to " + value(*s.Maximum)
	}
	if s.Default != nil {
		text += fmt.Sprintf(", %v if missing", s.Default)
	}
	return text
}

// value is an example or a bound as it stands in JSON; a text without its
// quotes.
func value(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("openapi: encode example: " + err.Error()) // it was read from JSON
	}
	return string(b)
}

// cell is text that stands in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
