package openapi

import (
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// refusal is one way in which operations refuse, as the document tells it.
type refusal struct {
	name, when string
	code       ide.Code
	message    string
	headers    []string
}

// refusals has every status that an operation may refuse with. Any status not
// here does not come from an operation.
var refusals = map[int]refusal{
	400: {"Invalid", "The request is not valid. The details name each place and what is wrong there, and no value", ide.ValidationFailed,
		"The request is not valid: query.limit: must be at most 200.", nil},
	401: {"Unauthenticated", "No API key or session, or one that is not known", ide.AuthenticationFailed, "A valid API key is needed.", []string{"WWW-Authenticate"}},
	403: {"Forbidden", "The key's role or its limits do not allow it", ide.Forbidden, "A viewer's key changes nothing.", nil},
	404: {"NotFound", "There is no such thing, or it is another key's", ide.ContainerNotFound, `There is no container "k3xqh5zt2mwfa".`, nil},
	409: {"Conflict", "The present state does not allow it, or a job is open that was asked for with other arguments; the details name the state or the job", ide.Conflict, "The container is stopping.", nil},
	413: {"TooLarge", "The body is larger than the operation takes", ide.BodyTooLarge, "The body is larger than this operation takes.", nil},
	415: {"UnsupportedMediaType", "The body is not JSON", ide.UnsupportedMediaType, "The body must be application/json.", nil},
	422: {"IdempotencyKeyReused", "The Idempotency-Key came before with another request, or no node, as the nodes are, can ever take the container", ide.IdempotencyKeyReused,
		"The Idempotency-Key was used for another request.", nil},
	429: {"LimitReached", "The rate limit is reached, or the key has as many live containers as it may", ide.RateLimited,
		"More than 100 requests a minute.", []string{"Retry-After"}},
	500: {"Internal", "Something went wrong on our side; the request ID finds it in the log", ide.Internal,
		"Something went wrong on our side. The request ID finds it in the log.", nil},
	502: {"Engine", "The engine refused or did not answer", ide.Docker, "The engine did not answer.", nil},
	503: {"Unavailable", "The queue does not answer, or no node has room. Nothing was made, or one job that will complete; with an Idempotency-Key it is safe to ask again",
		ide.QueueUnavailable, "The queue does not answer. Nothing was lost; please try again.", []string{"Retry-After"}},
}

var headerDocs = map[string]string{
	"X-Request-ID":     "Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores",
	"Retry-After":      "Seconds after which it makes sense to ask again",
	"WWW-Authenticate": "How to authenticate",
}

// response puts a refusal into the document, once, and refers to it.
func response(doc *huma.OpenAPI, status int) *huma.Response {
	r := refusals[status]
	if doc.Components.Responses == nil {
		doc.Components.Responses = map[string]*huma.Response{}
	}
	if doc.Components.Responses[r.name] == nil {
		headers := map[string]*huma.Param{}
		for _, name := range append([]string{"X-Request-ID"}, r.headers...) {
			headers[name] = &huma.Param{Description: headerDocs[name], Schema: &huma.Schema{Type: "string"}}
		}
		doc.Components.Responses[r.name] = &huma.Response{Description: r.when, Headers: headers, Content: map[string]*huma.MediaType{"application/json": {
			Schema:  doc.Components.Schemas.Schema(reflect.TypeFor[Envelope](), true, "Envelope"),
			Example: map[string]any{"error": map[string]any{"code": r.code, "message": r.message}, "timestamp": "2026-03-01T12:00:00Z", "path": "/api/containers"},
		}}}
	}
	return &huma.Response{Ref: "#/components/responses/" + r.name}
}

// complete adds to an operation what all of its kind have in common, so that
// a new one cannot lack it.
func (s *server) complete(doc *huma.OpenAPI, op *huma.Operation) {
	if len(op.Security) > 0 {
		op.Security = []map[string][]string{{"key": {}}, {"session": {}}}
	}
	op.BodyReadTimeout = s.cfg.readTimeout()
	if op.Method != http.MethodGet {
		op.MaxBodyBytes = maxBody
	}
	for _, p := range op.Parameters {
		if p.In == "path" && p.Example == nil && strings.HasPrefix(op.Path, "/api/containers/{"+p.Name+"}") {
			p.Example = "k3xqh5zt2mwfa"
		}
	}
	delete(op.Responses, "422") // validation is 400 here
	for _, status := range refusesWith(op) {
		key := strconv.Itoa(status)
		if r := op.Responses[key]; r == nil || r.Description == http.StatusText(status) {
			op.Responses[key] = response(doc, status)
		}
	}
}

// plain takes out what Huma writes beside OpenAPI's own words. The sentences
// that validation says are made by now.
func plain(doc *huma.OpenAPI) {
	for _, schema := range doc.Components.Schemas.Map() {
		for _, field := range schema.Properties {
			field.PatternDescription = ""
		}
	}
}

// nullable says of a job's error that it may be null: Huma cannot say that of a
// field whose schema has a name.
func nullable(doc *huma.OpenAPI) {
	fields := doc.Components.Schemas.Map()["JobAnswer"].Properties
	e := fields["error"]
	fields["error"] = &huma.Schema{Description: e.Description, AnyOf: []*huma.Schema{{Ref: e.Ref}, {Type: "null"}}}
}

// refusesWith returns the statuses that an operation may refuse with: those
// that it names itself, and those that come with its form.
func refusesWith(op *huma.Operation) []int {
	list := append([]int{http.StatusBadRequest, http.StatusInternalServerError}, op.Errors...)
	list = slices.DeleteFunc(list, func(status int) bool { return status == http.StatusUnprocessableEntity })
	add := func(when bool, status ...int) {
		if when {
			list = append(list, status...)
		}
	}
	add(len(op.Security) > 0, http.StatusUnauthorized, http.StatusTooManyRequests)
	add(op.Method != http.MethodGet, http.StatusForbidden)
	add(strings.Contains(op.Path, "{"), http.StatusNotFound)
	add(op.RequestBody != nil, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	add(slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.Name == "Idempotency-Key" }), http.StatusUnprocessableEntity)
	return list
}

// tags of the document, in the order in which it shows them.
var tags = []*huma.Tag{
	{Name: "containers", Description: "Browser IDEs: start, look at, stop."},
	{Name: "jobs", Description: "What changes something is a job. It can be polled, waited for, canceled and tried again."},
	{Name: "schedules", Description: "What runs by itself, and when; for admins."},
	{Name: "webhooks", Description: "Endpoints of yours that are told what happens."},
	{Name: "nodes", Description: "The machines of the Swarm: join, drain, label, remove; for admins."},
	{Name: "events", Description: "Everything that happens, as it happens."},
	{Name: "dashboard", Description: "Nodes, use and what needs attention, for keys that see all."},
	{Name: "session", Description: "What a browser exchanges an API key for."},
	{Name: "keys", Description: "API keys, for admins."},
	{Name: "health", Description: "The state of the control plane."},
}
