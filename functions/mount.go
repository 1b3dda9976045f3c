package functions

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// Request is embedded by the input of every function with a Route.
type Request struct {
	IdempotencyKey string `json:"-" header:"Idempotency-Key" maxLength:"255" doc:"Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice" example:"7b0c8f3e-1"`
	Prefer         string `json:"-" header:"Prefer" maxLength:"100" example:"wait=30" doc:"wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240)"`
}

func (r Request) key() string { return r.IdempotencyKey }

func (r Request) patience() time.Duration { return Patience(r.Prefer) }

// maxPatience is how long an answer is held at most.
const maxPatience = time.Minute

// Patience is how long a Prefer header (RFC 7240) says that an answer may be
// held; what it says of anything else is left out.
func Patience(prefer string) time.Duration {
	for p := range strings.SplitSeq(prefer, ",") {
		p, _, _ = strings.Cut(p, ";")
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		if err != nil {
			return 0
		}
		return min(time.Duration(n)*time.Second, maxPatience)
	}
	return 0
}

// Applied is the Preference-Applied of an answer that was held.
func Applied(patience time.Duration) string { return fmt.Sprintf("wait=%d", int(patience.Seconds())) }

// idempotency returns the key of a request and a digest of it, or nothing.
func idempotency(d *Deps, function string, a any) (key string, digests []string, err error) {
	r, ok := a.(interface{ key() string })
	if !ok || r.key() == "" {
		return "", nil, nil
	}
	var what any = a
	if b, ok := a.(interface{ fingerprint() any }); ok {
		what = b.fingerprint()
	}
	digests, err = d.Box.Digests([]any{function, what})
	return r.key(), digests, err
}

// JobAnswer is a job as the API shows it.
type JobAnswer struct {
	ide.Job
	Links Links `json:"links" doc:"Where to go on"`
}

// Links lead on from a job.
type Links struct {
	Self      string `json:"self" example:"/api/jobs/container-create:k3xqh5zt2mwfa:1" doc:"The job"`
	Container string `json:"container,omitempty" example:"/api/containers/k3xqh5zt2mwfa" doc:"Its container"`
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
	ID          string     `json:"id" example:"k3xqh5zt2mwfa" doc:"The container"`
	ServiceName string     `json:"serviceName" example:"berth-k3xqh5zt2mwfa" doc:"Its Swarm service"`
	Status      ide.Status `json:"status" enum:"starting,running,stopping,stopped,failed" example:"starting" doc:"Its state"`
	URLs        ide.URLs   `json:"urls" doc:"Where it will answer"`
	Message     string     `json:"message" example:"The container is starting." doc:"A sentence for people"`
	Job         JobAnswer  `json:"job" doc:"What starts it"`
}

// accepted is the answer of a function's operation.
type accepted struct {
	Status     int
	Location   string `header:"Location" doc:"The job"`
	RetryAfter string `header:"Retry-After" doc:"Seconds until it makes sense to look at the job"`
	Applied    string `header:"Preference-Applied" doc:"wait=N, if the answer was held"`
	Body       any
}

// answer is the body of a function's 202, as JSON.
func (f *Function[A]) answer(c ide.Container, j ide.Job) string {
	var body any = AnswerJob(j)
	if f.Created {
		body = StartAnswer{ID: c.ID, ServiceName: c.ServiceName(), Status: c.Status, URLs: c.URLs,
			Message: fmt.Sprintf("The container is %s.", c.Status), Job: AnswerJob(j)}
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic("functions: encode answer: " + err.Error()) // types of ours, which all encode
	}
	return string(b)
}

// Edge is what the API lends to the operations of functions.
type Edge struct {
	Wait      func(ctx context.Context, job string, most time.Duration) (ide.Job, error) // as store.WaitJob
	Container func(ctx context.Context, id string) (any, error)                          // as the API shows it
	Shown     reflect.Type                                                               // of what Container returns
}

// Mount registers every function with a Route as an operation of the API.
func Mount(api huma.API, d *Deps, e Edge) {
	for _, f := range All() {
		if f.mount != nil {
			f.mount(api, d, e)
		}
	}
}

func (f *Function[A]) mount(api huma.API, d *Deps, e Edge) {
	method, path, _ := strings.Cut(f.Route, " ")
	body := func(description string, t reflect.Type) *huma.Response {
		return &huma.Response{Description: description, Content: map[string]*huma.MediaType{
			"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(t, true, "")}}}
	}
	op := huma.Operation{
		OperationID: f.Name, Method: method, Path: path, Summary: f.Doc, DefaultStatus: http.StatusAccepted,
		Tags: []string{tag(path)}, Errors: f.errors(path), Security: []map[string][]string{{"key": {}}},
		Responses: map[string]*huma.Response{
			"202": body("The job, which goes on or, with Prefer: wait=N, has ended without success", reflect.TypeFor[JobAnswer]()),
			"200": body("With Prefer: wait=N, the container, if the job has succeeded in that time", e.Shown),
		},
	}
	if f.Name == stopName {
		op.Responses["200"].Description += "; without it, the container, if it was stopped already"
		op.Responses["204"] = &huma.Response{Description: "With Prefer: wait=N, if the container was purged in that time"}
	}
	if !strings.Contains(path, "/containers/") {
		op.Responses["202"] = body("The job, which goes on or, with Prefer: wait=N, has ended", reflect.TypeFor[JobAnswer]())
		delete(op.Responses, "200")
	}
	if f.Created {
		op.Responses["202"] = body("The container to be, and its job", reflect.TypeFor[StartAnswer]())
		op.Responses["201"] = op.Responses["200"]
		delete(op.Responses, "200")
	}
	huma.Register(api, op, func(ctx context.Context, in *A) (*accepted, error) {
		p := ide.PrincipalOf(ctx)
		if p.Role == ide.Viewer {
			return nil, ide.Errorf(ide.Forbidden, "A viewer's key changes nothing.")
		}
		out, err := f.Enqueue(ctx, d, p, in)
		if err != nil {
			return nil, err
		}
		if out.Done {
			shown, err := e.Container(ctx, out.Container.ID)
			return &accepted{Status: http.StatusOK, Body: shown}, err
		}
		job, body := out.Job.ID, out.Answered
		if body == "" {
			body = f.answer(out.Container, out.Job)
		} else if job, err = jobOf(body); err != nil {
			return nil, err
		}
		res := &accepted{Status: http.StatusAccepted, Location: "/api/jobs/" + job, RetryAfter: "1", Body: json.RawMessage(body)}
		if r, ok := any(in).(interface{ patience() time.Duration }); ok && r.patience() > 0 {
			return res, f.hold(ctx, d, e, res, job, r.patience())
		}
		return res, nil
	})
}

// hold waits for the end of a job, and answers with the container if it
// succeeded; with the job as it stands if it did not, if it goes on, or if no
// container is left.
func (f *Function[A]) hold(ctx context.Context, d *Deps, e Edge, res *accepted, job string, most time.Duration) error {
	j, err := e.Wait(ctx, job, most)
	if err != nil || ctx.Err() != nil { // then nobody reads the answer
		return err
	}
	res.Applied = Applied(most)
	c, err := d.Store.Container(ctx, j.Container)
	if err != nil && !ide.HasCode(err, ide.ContainerNotFound) {
		return err
	}
	if j.Status.Ended() {
		res.RetryAfter = ""
	}
	if err != nil || j.Status != ide.JobSucceeded {
		if err == nil || !f.Created {
			res.Body = json.RawMessage(f.answer(c, j))
		}
		if err != nil && j.Status == ide.JobSucceeded && f.Name == stopName { // purged
			res.Status, res.Body = http.StatusNoContent, json.RawMessage(nil)
		}
		return nil
	}
	res.Status = http.StatusOK
	if f.Created {
		res.Status = http.StatusCreated
	}
	res.Body, err = e.Container(ctx, c.ID)
	return err
}

// jobOf is the job of an answer.
func jobOf(body string) (string, error) {
	var a struct {
		ID  string
		Job struct{ ID string }
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return "", fmt.Errorf("decode answer: %w", err)
	}
	return cmp.Or(a.Job.ID, a.ID), nil
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
