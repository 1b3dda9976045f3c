package openapi

import (
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// promised is the document, and a pattern of the path of each operation.
var promised = sync.OnceValues(func() (*huma.OpenAPI, map[*regexp.Regexp]*huma.PathItem) {
	doc, paths := Document("v9"), map[*regexp.Regexp]*huma.PathItem{}
	for _, s := range doc.Components.Schemas.Map() { // what is told has to be documented, though clients may not rely on it
		if s.Type == huma.TypeObject && s.AdditionalProperties == nil {
			s.AdditionalProperties = false
		}
	}
	for path, item := range doc.Paths {
		paths[regexp.MustCompile("^"+regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`)+"$")] = item
	}
	return doc, paths
})

// conforms checks an answer in JSON against the schema that the document has for
// it: every field is there and of its type, no list is null, and nothing is told
// that is not in the document. Every call of these tests passes here.
func conforms(t testing.TB, method, target string, w *httptest.ResponseRecorder) {
	t.Helper()
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		return
	}
	doc, paths := promised()
	path, _, _ := strings.Cut(target, "?")
	for pattern, item := range paths {
		op := operationOf(item, method)
		if op == nil || !pattern.MatchString(path) {
			continue
		}
		answer := op.Responses[strconv.Itoa(w.Code)]
		if answer == nil {
			t.Errorf("%s %s answers %d, which is not in the document", method, path, w.Code)
			return
		}
		if answer.Ref != "" || answer.Content["application/json"] == nil {
			continue
		}
		var got any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s %s: %v in %s", method, path, err, w.Body)
			return
		}
		var found huma.ValidateResult
		huma.Validate(doc.Components.Schemas, answer.Content["application/json"].Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, got, &found)
		for _, err := range found.Errors {
			t.Errorf("%s %s answers what the document does not say: %v", method, path, err)
		}
		return
	}
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	return map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete}[method]
}
