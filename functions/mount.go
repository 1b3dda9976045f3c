package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// Request is embedded by the input of every function with a Route.
type Request struct {
	IdempotencyKey string `json:"-" header:"Idempotency-Key" maxLength:"255" doc:"Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice"`
}

// fingerprint is what makes two requests the same. An input whose body is not
// part of its JSON has a method of its own.
func (r Request) key() string { return r.IdempotencyKey }

// idempotency returns the key of a request and a digest of it, or nothing.
func idempotency(d *Deps, function string, a any) (key, digest string, err error) {
	r, ok := a.(interface{ key() string })
	if !ok || r.key() == "" {
		return "", "", nil
	}
	var what any = a
	if b, ok := a.(interface{ fingerprint() any }); ok {
		what = b.fingerprint()
	}
	digest, err = d.Box.Digest([]any{function, what})
	return r.key(), digest, err
}

// JobAnswer is a job as the API shows it.
type JobAnswer struct {
	ide.Job
	Links Links `json:"links"`
}

// Links lead on from a job.
type Links struct {
	Self      string `json:"self" example:"/api/jobs/container-create:k3xqh5zt2mwfa:1"`
	Container string `json:"container,omitempty" example:"/api/containers/k3xqh5zt2mwfa"`
}

// AnswerJob returns a job with its links.
func AnswerJob(j ide.Job) JobAnswer {
	a := JobAnswer{Job: j, Links: Links{Self: "/api/jobs/" + j.ID}}
	if j.Container != "" {
		a.Links.Container = "/api/containers/" + j.Container
	}
	return a
}

// StartAnswer is the answer to a start: the fields of the original design and
// the job.
type StartAnswer struct {
	ID          string     `json:"id" example:"k3xqh5zt2mwfa"`
	ServiceName string     `json:"serviceName" example:"berth-k3xqh5zt2mwfa"`
	Status      ide.Status `json:"status" enum:"starting" example:"starting"`
	URLs        ide.URLs   `json:"urls"`
	Message     string     `json:"message"`
	Job         JobAnswer  `json:"job"`
}

// accepted is the 202 of a function.
type accepted[T any] struct {
	Status     int
	Location   string `header:"Location" doc:"The job"`
	RetryAfter string `header:"Retry-After" doc:"Seconds until it makes sense to look at the job"`
	Body       T
}

// answer is the body of a function's 202, as JSON.
func (f *Function[A]) answer(c ide.Container, j ide.Job) string {
	var body any = AnswerJob(j)
	if f.Created {
		body = StartAnswer{ID: c.ID, ServiceName: c.ServiceName(), Status: c.Status, URLs: c.URLs,
			Message: "The container is starting.", Job: AnswerJob(j)}
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic("functions: encode answer: " + err.Error()) // types of ours, which all encode
	}
	return string(b)
}

// Mount registers every function with a Route as an operation of the API.
func Mount(api huma.API, d *Deps) {
	for _, f := range All() {
		if f.mount != nil {
			f.mount(api, d)
		}
	}
}

func (f *Function[A]) mount(api huma.API, d *Deps) {
	if f.Created {
		register[StartAnswer](api, d, f)
		return
	}
	register[JobAnswer](api, d, f)
}

func register[T, A any](api huma.API, d *Deps, f *Function[A]) {
	method, path, _ := strings.Cut(f.Route, " ")
	op := huma.Operation{
		OperationID: f.Name, Method: method, Path: path, Summary: f.Doc, DefaultStatus: http.StatusAccepted,
		Tags: []string{tag(path)}, Errors: f.errors(path), Security: []map[string][]string{{"key": {}}},
	}
	huma.Register(api, op, func(ctx context.Context, in *A) (*accepted[T], error) {
		p := ide.PrincipalOf(ctx)
		if p.Role == ide.Viewer {
			return nil, ide.Errorf(ide.Forbidden, "A viewer's key changes nothing.")
		}
		out, err := f.Enqueue(ctx, d, p, in)
		if err != nil {
			return nil, err
		}
		body := out.Answered
		if body == "" {
			body = f.answer(out.Container, out.Job)
		}
		res := &accepted[T]{Status: http.StatusAccepted, RetryAfter: "1"}
		if err := json.Unmarshal([]byte(body), &res.Body); err != nil {
			return nil, fmt.Errorf("decode answer: %w", err)
		}
		var id struct {
			ID  string
			Job struct{ ID string }
		}
		_ = json.Unmarshal([]byte(body), &id) // the same text as above
		if f.Created {
			id.ID = id.Job.ID
		}
		res.Location = "/api/jobs/" + id.ID
		return res, nil
	})
}

// errors are the statuses that a function's operation can answer with.
func (f *Function[A]) errors(path string) []int {
	list := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict,
		http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if strings.Contains(path, "{") {
		list = append(list, http.StatusNotFound)
	}
	return list
}

// tag groups operations by what they are about.
func tag(path string) string {
	return strings.Split(strings.TrimPrefix(path, "/api/"), "/")[0]
}
