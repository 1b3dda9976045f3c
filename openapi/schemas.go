package openapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// openAnswers lets answers have fields that the document does not name, so that a
// client made from it reads those of a later release. Requests stay closed: a
// misspelt field is refused. A schema that is in both becomes two, of which the
// request's is called …Input.
func openAnswers(doc *huma.OpenAPI) {
	all := doc.Components.Schemas.Map()
	asked, told := map[string]bool{}, map[string]bool{}
	var bodies []*huma.Schema
	for _, item := range doc.Paths {
		for _, op := range operations(item) {
			if op.RequestBody != nil {
				bodies = append(bodies, contents(op.RequestBody.Content)...)
			}
			for _, r := range op.Responses {
				reach(all, contents(r.Content), told)
			}
		}
	}
	for _, r := range doc.Components.Responses {
		reach(all, contents(r.Content), told)
	}
	for _, item := range doc.Webhooks { // what receivers get
		for _, op := range operations(item) {
			reach(all, contents(op.RequestBody.Content), told)
		}
	}
	reach(all, bodies, asked)
	names := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		if told[name] {
			names[name] = name + "Input"
			all[names[name]] = cloned(all[name])
		}
	}
	for name := range asked {
		s := all[name]
		if told[name] {
			s = all[names[name]]
		}
		bodies = append(bodies, s)
	}
	for _, s := range bodies {
		rename(s, names)
	}
	for name := range all {
		if told[name] {
			loosen(all[name])
		}
	}
	for _, item := range doc.Paths { // those that have no name
		for _, op := range operations(item) {
			for _, r := range op.Responses {
				for _, s := range contents(r.Content) {
					loosen(s)
				}
			}
		}
	}
}

func operations(item *huma.PathItem) []*huma.Operation {
	list := []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch}
	return slices.DeleteFunc(list, func(op *huma.Operation) bool { return op == nil })
}

func contents(media map[string]*huma.MediaType) (list []*huma.Schema) {
	for _, m := range media {
		if m.Schema != nil {
			list = append(list, m.Schema)
		}
	}
	return list
}

// parts are the schemas that one is made of.
func parts(s *huma.Schema) []*huma.Schema {
	list := slices.Concat(slices.Collect(maps.Values(s.Properties)), s.AnyOf, s.OneOf, s.AllOf)
	if s.Items != nil {
		list = append(list, s.Items)
	}
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		list = append(list, more)
	}
	return list
}

const schemaRef = "#/components/schemas/"

// reach adds the names of all schemas that some lead to.
func reach(all map[string]*huma.Schema, from []*huma.Schema, found map[string]bool) {
	for _, s := range from {
		if name, ok := strings.CutPrefix(s.Ref, schemaRef); ok && !found[name] {
			found[name] = true
			reach(all, []*huma.Schema{all[name]}, found)
		}
		reach(all, parts(s), found)
	}
}

// cloned is a schema whose references can be changed without changing the
// first's.
func cloned(s *huma.Schema) *huma.Schema {
	if s == nil {
		return nil
	}
	c := *s
	each := func(list []*huma.Schema) []*huma.Schema {
		list = slices.Clone(list)
		for i := range list {
			list[i] = cloned(list[i])
		}
		return list
	}
	c.Properties = maps.Clone(s.Properties)
	for name, p := range c.Properties {
		c.Properties[name] = cloned(p)
	}
	c.Items, c.AnyOf, c.OneOf, c.AllOf = cloned(s.Items), each(s.AnyOf), each(s.OneOf), each(s.AllOf)
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		c.AdditionalProperties = cloned(more)
	}
	return &c
}

// rename changes what a schema refers to.
func rename(s *huma.Schema, names map[string]string) {
	if to := names[strings.TrimPrefix(s.Ref, schemaRef)]; to != "" {
		s.Ref = schemaRef + to
	}
	for _, p := range parts(s) {
		rename(p, names)
	}
}

// loosen lets a schema, and those without a name in it, have further fields.
func loosen(s *huma.Schema) {
	if closed, ok := s.AdditionalProperties.(bool); ok && !closed {
		s.AdditionalProperties = nil
	}
	for _, p := range parts(s) {
		loosen(p)
	}
}
