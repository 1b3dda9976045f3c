package openapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// each calls see for every operation of the document.
func each(doc *huma.OpenAPI, see func(*huma.Operation)) {
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		p := doc.Paths[path]
		for _, op := range []*huma.Operation{p.Get, p.Put, p.Post, p.Delete, p.Patch, p.Head, p.Options, p.Trace} {
			if op != nil {
				see(op)
			}
		}
	}
}

// undocumented names what a reader of a field misses.
func undocumented(s *huma.Schema, description string) string {
	switch {
	case s.Ref != "" && description == "" && s.Description == "":
		return "description"
	case s.Ref != "":
		return ""
	case description == "" && s.Description == "":
		return "description"
	case len(s.Examples) > 0, len(s.Enum) > 0, s.Type == "boolean", s.Type == "object", s.Type == "", s.Format == "date-time", s.Default != nil:
		return ""
	case s.Type == "array" && (s.Items.Ref != "" || len(s.Items.Enum) > 0):
		return ""
	}
	return "example"
}

func TestEverythingIsDocumented(t *testing.T) {
	t.Parallel()
	doc := Document("v1")
	for name, s := range doc.Components.Schemas.Map() {
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			if lacks := undocumented(s.Properties[field], ""); lacks != "" {
				t.Errorf("%s.%s lacks its %s", name, field, lacks)
			}
		}
	}
	each(doc, func(op *huma.Operation) {
		if op.Security == nil { // an empty list says that no key is needed
			t.Errorf("%s does not say which key it needs", op.OperationID)
		}
		if op.Summary == "" || len(op.Tags) == 0 || op.OperationID == "" {
			t.Errorf("%s %s lacks a summary, a tag or an ID", op.Method, op.Path)
		}
		for _, p := range op.Parameters {
			if lacks := undocumented(p.Schema, p.Description); lacks != "" && p.Example == nil {
				t.Errorf("%s: %s parameter %s lacks its %s", op.OperationID, p.In, p.Name, lacks)
			}
		}
		for status, r := range op.Responses {
			if r.Ref == "" && r.Description == "" {
				t.Errorf("%s: %s has no description", op.OperationID, status)
			}
			if fmt.Sprint(status) >= "400" && r.Ref == "" && op.OperationID != "health" {
				t.Errorf("%s: %s is no refusal that all know", op.OperationID, status)
			}
		}
	})
}

func TestEveryAnswerWithAJobSaysWhereItIs(t *testing.T) {
	t.Parallel()
	each(Document("v1"), func(op *huma.Operation) {
		r := op.Responses["202"]
		if r == nil {
			return
		}
		switch r.Content["application/json"].Schema.Ref {
		case "#/components/schemas/JobAnswer", "#/components/schemas/StartAnswer":
			for _, name := range []string{"Location", "Retry-After"} {
				if r.Headers[name] == nil {
					t.Errorf("%s: its 202 lacks %s", op.OperationID, name)
				}
			}
		}
	})
}

// An answer may have more fields than the document names; a request may not.
func TestAnswersAreOpenAndRequestsClosed(t *testing.T) {
	t.Parallel()
	doc := Document("v9")
	all := doc.Components.Schemas.Map()
	check := func(what string, from []*huma.Schema, open bool) {
		t.Helper()
		names := map[string]bool{}
		reach(all, from, names)
		for name := range names {
			s := all[name]
			if more, ok := s.AdditionalProperties.(bool); s.Type == huma.TypeObject && (ok && !more) == open {
				t.Errorf("%s: %s has additionalProperties %v", what, name, s.AdditionalProperties)
			}
		}
	}
	for _, item := range doc.Paths {
		for _, op := range operations(item) {
			if op.RequestBody != nil {
				check(op.OperationID+" takes", contents(op.RequestBody.Content), false)
			}
			for status, r := range op.Responses {
				check(op.OperationID+" answers "+status, contents(r.Content), true)
			}
		}
	}
	for name, r := range doc.Components.Responses {
		check(name, contents(r.Content), true)
	}
	b := newBench(t)
	for _, body := range []string{`{"s3Bucket":"bucket","placment":{}}`, `{"s3Bucket":"bucket","placement":{"constraint":[]}}`} {
		b.refused(b.call(aliceKey, "POST", "/api/containers/start", body), http.StatusBadRequest, ide.ValidationFailed, "/api/containers/start")
	}
}

// A job is an object under the name job, and a string under jobId.
func TestAJobHasOneShape(t *testing.T) {
	t.Parallel()
	for name, s := range Document("v9").Components.Schemas.Map() {
		if p := s.Properties["job"]; p != nil && p.Ref == "" {
			t.Errorf("%s: job is a %s", name, p.Type)
		}
		if p := s.Properties["jobId"]; p != nil && p.Type != huma.TypeString {
			t.Errorf("%s: jobId is a %s %s", name, p.Type, p.Ref)
		}
	}
}

func TestEveryTagIsDescribed(t *testing.T) {
	t.Parallel()
	doc := Document("v1")
	each(doc, func(op *huma.Operation) {
		for _, name := range op.Tags {
			if !slices.ContainsFunc(doc.Tags, func(tag *huma.Tag) bool { return tag.Name == name && tag.Description != "" }) {
				t.Errorf("%s: its tag %s is not described", op.OperationID, name)
			}
		}
	})
}
