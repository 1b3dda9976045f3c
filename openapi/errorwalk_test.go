package openapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"berth/functions"
	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// newWalk walks an API on a Redis of the test's own.
func newWalk(t *testing.T) walk { return walk{newBench(t), Document("v9")} }

// fails sends a request to an operation and checks how it is refused: with
// our envelope, with a status that the document names, and without a word of
// what was sent.
func (w walk) fails(t *testing.T, name string, op *huma.Operation, key string, r request, code ide.Code, headers ...string) ide.Error {
	t.Helper()
	b := *w.bench
	b.T = t
	body := r.text(t)
	if raw := headerOf(headers, "raw"); raw != "" {
		body = raw
	}
	rec := b.call(key, op.Method, r.target(), body, headers...)
	return w.judge(t, name, op, rec, r.path, code)
}

func (w walk) judge(t *testing.T, name string, op *huma.Operation, rec *httptest.ResponseRecorder, path string, code ide.Code) ide.Error {
	t.Helper()
	if !strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json") || rec.Code < 400 {
		t.Errorf("%s: got %d %.300s, want %s", name, rec.Code, rec.Body, code)
		return ide.Error{}
	}
	b := *w.bench
	b.T = t
	e := b.refused(rec, status(&ide.Error{Code: code}), code, path)
	if t.Failed() {
		t.Logf("that was: %s", name)
	}
	if _, ok := op.Responses[strconv.Itoa(rec.Code)]; !ok {
		t.Errorf("%s: the document does not name %d", name, rec.Code)
	}
	if strings.Contains(strings.ReplaceAll(rec.Body.String(), path, ""), canary) {
		t.Errorf("%s: the value comes back: %s", name, rec.Body)
	}
	return e
}

func headerOf(pairs []string, name string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == name {
			return pairs[i+1]
		}
	}
	return ""
}

// located says whether the details name a place.
func located(e ide.Error, place string) bool {
	return strings.Contains(fmt.Sprint(e.Details), "location:"+place)
}

// The error walk: every operation, and every way to get it wrong.
func TestEveryWayToGetItWrong(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	each(w.doc, func(op *huma.Operation) {
		t.Run(op.OperationID, func(t *testing.T) {
			good := w.good(op)
			if len(op.Security) > 0 {
				w.fails(t, "no key", op, "", good, ide.AuthenticationFailed)
				w.fails(t, "a key that nobody has", op, "nobody-nobody-nobody-nobody-nobody-nobody", good, ide.AuthenticationFailed)
			}
			if op.Method != http.MethodGet {
				w.fails(t, "a page of another site", op, rootKey, good, ide.Forbidden, "Sec-Fetch-Site", "cross-site")
				if len(op.Security) > 0 && roles[op.OperationID].viewer == nothing {
					w.fails(t, "a viewer", op, viewKey, good, ide.Forbidden)
				}
			}
			if good.path != op.Path {
				e := w.fails(t, "no such thing", op, rootKey, good, w.missing(op))
				if e.Message == "" {
					t.Error("no such thing: no message")
				}
			}
			w.wrongParameters(t, op, good)
			if s := w.bodyOf(op); s != nil {
				w.wrongBodies(t, op, s, good)
			}
		})
	})
}

// missing is the code for what does not exist.
func (w walk) missing(op *huma.Operation) ide.Code {
	switch parts := strings.Split(op.Path, "/"); {
	case parts[2] == "containers", parts[3] == "container":
		return ide.ContainerNotFound
	case parts[2] == "jobs":
		return ide.JobNotFound
	}
	return ide.NotFound
}

func (w walk) wrongParameters(t *testing.T, op *huma.Operation, good request) {
	t.Helper()
	r := good
	r.query = maps.Clone(good.query)
	r.query.Set("surprise", canary)
	if e := w.fails(t, "an unknown query parameter", op, rootKey, r, ide.ValidationFailed); !located(e, "query.surprise") {
		t.Errorf("an unknown query parameter: the details are %v", e.Details)
	}
	for _, p := range op.Parameters {
		for what, value := range w.wrong(p.Schema) {
			text := fmt.Sprint(value)
			name := fmt.Sprintf("%s parameter %s is %s", p.In, p.Name, what)
			if what == "a number" || what == "too short" && p.In == "path" {
				continue // a text, too; another path
			}
			r, headers := good, []string(nil)
			switch p.In {
			case "query":
				r.query = maps.Clone(good.query)
				r.query.Set(p.Name, text)
			case "header":
				headers = []string{p.Name, text}
			case "path":
				parts := strings.Split(op.Path, "/")
				for i, part := range parts {
					if part == "{"+p.Name+"}" {
						parts[i] = url.PathEscape(text)
					} else if strings.HasPrefix(part, "{") {
						parts[i] = "nothing"
					}
				}
				r.path = strings.Join(parts, "/")
			}
			if e := w.fails(t, name, op, rootKey, r, ide.ValidationFailed, headers...); !located(e, p.In+"."+p.Name) {
				t.Errorf("%s: the details are %v", name, e.Details)
			}
		}
	}
}

func (w walk) wrongBodies(t *testing.T, op *huma.Operation, s *huma.Schema, good request) {
	t.Helper()
	for name, tc := range map[string]struct {
		raw  string
		kind string
		code ide.Code
	}{
		"broken JSON":          {`{"a":`, "application/json", ide.ValidationFailed},
		"no object":            {`["` + canary + `"]`, "application/json", ide.ValidationFailed},
		"two objects":          {good.text(t) + good.text(t), "application/json", ide.ValidationFailed},
		"a text":               {good.text(t), "text/plain", ide.UnsupportedMediaType},
		"a form":               {"a=b", "application/x-www-form-urlencoded", ide.UnsupportedMediaType},
		"larger than it takes": {`{"a":"` + strings.Repeat("x", maxBody) + `"}`, "application/json", ide.BodyTooLarge},
	} {
		w.fails(t, name, op, rootKey, good, tc.code, "Content-Type", tc.kind, "raw", tc.raw)
	}
	if op.RequestBody.Required {
		r := good
		r.body = nil
		w.fails(t, "no body", op, rootKey, r, ide.ValidationFailed)
	}
	change := func(name, place string, body map[string]any) {
		t.Helper()
		r := good
		r.body = body
		if e := w.fails(t, name, op, rootKey, r, ide.ValidationFailed); !located(e, place) {
			t.Errorf("%s: the details are %v, want them to name %s", name, e.Details, place)
		}
	}
	change("an unknown field", "body", w.with(s, good.body, "surprise", canary))
	for _, name := range s.Required {
		body := maps.Clone(good.body)
		delete(body, name)
		change("no "+name, "body", body)
	}
	w.fields(s, "", func(path string, field *huma.Schema) {
		if at := strings.LastIndex(path, ".") + 1; !strings.Contains(path[at:], "-") {
			other := path[:at] + swapCase(path[at:])
			body := w.with(s, good.body, other, w.value(field))
			if slices.Contains(s.Required, path) {
				delete(body, path)
			}
			change(path+" in another case", "body", body)
		}
		for what, value := range w.wrong(field) {
			change(path+" is "+what, "body."+path, w.with(s, good.body, path, value))
		}
	})
}

// swapCase changes the case of the first letter.
func swapCase(s string) string {
	r := []rune(s)
	if unicode.IsUpper(r[0]) {
		r[0] = unicode.ToLower(r[0])
	} else {
		r[0] = unicode.ToUpper(r[0])
	}
	return string(r)
}

func TestWrongMethodsAndPaths(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	for path := range w.doc.Paths {
		target := strings.NewReplacer("{", "", "}", "").Replace(path)
		have := map[string]bool{http.MethodGet: false, http.MethodPost: false, http.MethodPut: false, http.MethodDelete: false, http.MethodPatch: false}
		each(w.doc, func(op *huma.Operation) {
			if matches(op.Path, target) { // /api/containers/start is also a container that is called start
				have[op.Method] = true
			}
		})
		for method, ok := range have {
			if ok {
				continue
			}
			rec := w.call(rootKey, method, target, "")
			w.refused(rec, http.StatusMethodNotAllowed, ide.MethodNotAllowed, target)
			allowed := strings.Split(rec.Header().Get("Allow"), ", ")
			for m, ok := range have {
				if ok != slices.Contains(allowed, m) {
					t.Errorf("%s %s: Allow is %v, and %s is an operation: %t", method, path, allowed, m, ok)
				}
			}
		}
		unknown := target + "/no/such/path"
		w.refused(w.call(rootKey, "GET", unknown, ""), http.StatusNotFound, ide.NotFound, unknown)
	}
}

// matches says whether a path is one of a template's.
func matches(template, path string) bool {
	a, b := strings.Split(template, "/"), strings.Split(path, "/")
	return slices.EqualFunc(a, b, func(part, is string) bool { return part == is || strings.HasPrefix(part, "{") })
}

// Every operation says that the queue is away, and none says it in Redis's
// words. What needs no Redis may answer, also that there is no such thing.
func TestEveryOperationWithoutRedis(t *testing.T) {
	t.Parallel()
	w := walk{benchWithoutRedis(t), Document("v9")}
	each(w.doc, func(op *huma.Operation) {
		r := w.good(op)
		rec := w.call(rootKey, op.Method, r.target(), r.text(t))
		for _, word := range []string{"dial", "redis:", ".sock", "no such file", "connect"} {
			if strings.Contains(rec.Body.String(), word) && op.OperationID != "get-metrics" {
				t.Errorf("%s says %q: %s", op.OperationID, word, rec.Body)
			}
		}
		if rec.Code < 300 || rec.Code == http.StatusNotFound || op.OperationID == "health" {
			return
		}
		w.judge(t, "without Redis: "+op.OperationID, op, rec, r.path, ide.QueueUnavailable)
		if rec.Header().Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", op.OperationID)
		}
	})
}

func TestEveryOperationIsLimited(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.api = New(w.deps, Config{RateLimit: 1, Keys: []Key{{"root", ide.Admin, rootKey}}})
	w.call(rootKey, "GET", "/api/nothing", "")
	each(w.doc, func(op *huma.Operation) {
		if len(op.Security) == 0 {
			return
		}
		r := w.good(op)
		rec := w.call(rootKey, op.Method, r.target(), r.text(t))
		w.judge(t, "beyond the limit: "+op.OperationID, op, rec, r.path, ide.RateLimited)
		if h := rec.Header(); h.Get("Retry-After") == "" || h.Get("RateLimit-Remaining") != "0" || h.Get("RateLimit-Limit") != "1" || h.Get("RateLimit-Reset") == "" {
			t.Errorf("%s: got %v", op.OperationID, h)
		}
	})
}

func TestEveryPanicIsA500(t *testing.T) {
	t.Parallel()
	b := benchWithoutRedis(t)
	b.api = New(&functions.Deps{Log: b.deps.Log}, Config{Keys: []Key{{"root", ide.Admin, rootKey}}}) // no store: whoever needs it panics
	w := walk{b, Document("v9")}
	panicked := 0
	each(w.doc, func(op *huma.Operation) {
		r := w.good(op)
		rec := w.call(rootKey, op.Method, r.target(), r.text(t))
		if rec.Code != http.StatusInternalServerError {
			return
		}
		panicked++
		w.judge(t, "a panic: "+op.OperationID, op, rec, r.path, ide.Internal)
		if strings.Contains(rec.Body.String(), "nil pointer") || strings.Contains(rec.Body.String(), "goroutine") {
			t.Errorf("%s: %s", op.OperationID, rec.Body)
		}
	})
	if panicked < 10 {
		t.Errorf("only %d operations panicked: they need no store?", panicked)
	}
}
