package openapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
	"github.com/docker/go-units"
)

// ContainerAnswer is a container as the API shows it: the original design's
// fields and ours.
type ContainerAnswer struct {
	ID             string               `json:"id" example:"k3xqh5zt2mwfa" doc:"It names the container in URLs, host names and calls"`
	ServiceName    string               `json:"serviceName" example:"berth-k3xqh5zt2mwfa" doc:"Its Swarm service"`
	Status         ide.Status           `json:"status" enum:"starting,running,stopping,stopped,failed" doc:"Its state"`
	URLs           ide.URLs             `json:"urls" doc:"Where it answers while it runs"`
	S3Bucket       string               `json:"s3Bucket" example:"alice-workspace" doc:"Bucket of the workspace"`
	S3Region       string               `json:"s3Region" example:"us-east-1" doc:"Region of the bucket"`
	S3Prefix       string               `json:"s3Prefix,omitempty" example:"course-1/alice" doc:"Folder in the bucket"`
	Image          string               `json:"image" example:"registry.example.com/ide:3" doc:"What runs"`
	Node           string               `json:"node,omitempty" doc:"Engine ID of the node it runs on" example:"x8vlm0vmpo1jg5yk4zo2dgpyh"`
	Owner          string               `json:"owner" doc:"Name of the API key that started it" example:"course-1"`
	Labels         map[string]string    `json:"labels,omitempty" doc:"As given with the start"`
	ResourceLimits ResourceLimits       `json:"resourceLimits" doc:"What it may use at most"`
	ResourceUsage  *ResourceUsage       `json:"resourceUsage,omitempty" doc:"What it uses, as measured in the last minute; of a live one"`
	CreatedAt      time.Time            `json:"createdAt" doc:"When it was first asked for"`
	StartedAt      *time.Time           `json:"startedAt,omitempty" doc:"When it last became running"`
	StoppedAt      *time.Time           `json:"stoppedAt,omitempty" doc:"When it was stopped"`
	LastActivity   *time.Time           `json:"lastActivity,omitempty" doc:"When it was last used; idle says how"`
	Uptime         int                  `json:"uptime,omitempty" doc:"Seconds since it became running" example:"3600"`
	ShutdownReason ide.ShutdownReason   `json:"shutdownReason,omitempty" enum:"inactivity,manual,error,resource_limit" doc:"Why it does not run"`
	Error          *ide.Error           `json:"error,omitempty" doc:"Why it failed"`
	Health         *ide.Health          `json:"health,omitempty" doc:"What the last probe saw"`
	Idle           *IdleAnswer          `json:"idle,omitempty" doc:"When it stops for want of use; of a running one"`
	Template       string               `json:"template,omitempty" example:"python" doc:"What it was started from"`
	LastSave       *ide.LastSave        `json:"lastSave,omitempty" doc:"The latest save of its workspace that the control plane knows of"`
	Unsaved        bool                 `json:"unsaved,omitempty" doc:"Its node holds files that could not be saved; another start or stop tries again, force or purge gives them up"`
	JobID          string               `json:"jobId,omitempty" doc:"The latest job that changed its state" example:"container-create:k3xqh5zt2mwfa:1"`
	Job            *functions.JobAnswer `json:"job,omitempty" doc:"That job, where one container is asked for and the job is still kept"`
	Webhook        string               `json:"webhook,omitempty" doc:"The webhook that came with its start" example:"wq5xqh5zt2mwf"`
}

// ResourceLimits of a container.
type ResourceLimits struct {
	CPULimit    string `json:"cpuLimit" example:"2" doc:"Cores"`
	MemoryLimit string `json:"memoryLimit" example:"4GiB" doc:"Bytes, in binary units"`
}

func (s *server) answerContainer(c ide.Container, a ide.Activity) ContainerAnswer {
	out := ContainerAnswer{
		ID: c.ID, ServiceName: c.ServiceName(), Status: c.Status, URLs: c.URLs, S3Bucket: c.S3.Name, S3Region: c.S3.Region,
		S3Prefix: c.S3.Prefix, Image: c.Image, Node: c.Node, Owner: c.Owner, Labels: c.Labels,
		ResourceLimits: ResourceLimits{
			CPULimit:    strconv.FormatFloat(float64(c.Resources.CPULimit)/1e9, 'f', -1, 64),
			MemoryLimit: units.BytesSize(float64(c.Resources.MemoryLimit)),
		},
		CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, StoppedAt: c.StoppedAt, ShutdownReason: c.ShutdownReason,
		Error: c.Error, Health: c.Health, JobID: c.Job, Template: c.Template, LastSave: c.LastSave, Unsaved: c.Unsaved, Webhook: c.Webhook,
	}
	if last := c.LastUse(a).At; !last.IsZero() {
		out.LastActivity = &last
	}
	switch c.Status {
	case ide.Running:
		if c.StartedAt != nil {
			out.Uptime = int(time.Since(*c.StartedAt).Seconds())
		}
		out.Idle = answerIdle(c, a, s.deps.MaxLifetime)
	case ide.Starting:
		out.Health = &ide.Health{Status: "starting", LastCheck: time.Now().UTC()}
	}
	return out
}

type body[T any] struct{ Body T }

// Page is where a list stands in the whole.
type Page struct {
	Total  int `json:"total" doc:"How many match" example:"128"`
	Limit  int `json:"limit" example:"50" doc:"As asked for"`
	Offset int `json:"offset" example:"0" doc:"As asked for"`
}

// ListInput chooses a page.
type ListInput struct {
	Limit  int `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many at most"`
	Offset int `query:"offset" minimum:"0" maximum:"10000000" default:"0" doc:"How many to leave out"`
}

type listContainersInput struct {
	ListInput
	Status  string `query:"status" enum:"starting,running,stopping,stopped,failed" doc:"Only those in this state"`
	Owner   string `query:"owner" maxLength:"63" doc:"Only this key's; for keys that see all" example:"course-1"`
	Unsaved bool   `query:"unsaved" doc:"Only those whose node holds files that could not be saved; not together with status"`
	Text    string `query:"q" maxLength:"200" doc:"Only those with this text in their ID, owner, bucket, folder or labels, in capitals or not" example:"alice"`
	Node    string `query:"node" maxLength:"64" doc:"Only those on this node" example:"x8vlm0vmpo1jg5yk4zo2dgpyh"`
	Sort    string `query:"sort" enum:"id,status,node,owner,created,cpu,memory,-id,-status,-node,-owner,-created,-cpu,-memory" doc:"By what; with a hyphen the largest first. The newest first if missing"`
}

// Resolve implements huma.Resolver.
func (in *listContainersInput) Resolve(huma.Context) []error {
	if in.Unsaved && in.Status != "" {
		return []error{&huma.ErrorDetail{Location: "query.unsaved", Message: "must not be combined with status"}}
	}
	return nil
}

// ContainerList is a page of containers, newest first.
type ContainerList struct {
	Containers []ContainerAnswer `json:"containers" doc:"This page, newest first"`
	Page
}

// GenerationList is what can be gone back to.
type GenerationList struct {
	Generations []functions.Generation `json:"generations" doc:"Newest first"`
}

type idInput struct {
	ID string `path:"id" maxLength:"64" doc:"Container" example:"k3xqh5zt2mwfa"`
}

// CredentialsAnswer is not cached, not logged and not in any other answer.
type CredentialsAnswer struct {
	VNCPassword   string `json:"vncPassword" example:"hunter22" doc:"Of the desktop"`
	CodePassword  string `json:"codeServerPassword" example:"kVx0c2TzR9bQw1aL" doc:"Of code-server"`
	WebhookSecret string `json:"webhookSecret,omitempty" doc:"What deliveries to the webhook that came with its start are signed with" example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
}

// read describes an operation that only looks.
func read(id, path, tag, summary string, errors ...int) huma.Operation {
	return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{tag},
		Security: []map[string][]string{{"key": {}}},
		Errors: append([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusInternalServerError,
			http.StatusServiceUnavailable}, errors...)}
}

// visible returns a container that the caller may know of.
func (s *server) visible(ctx context.Context, id string) (ide.Container, error) {
	c, err := s.deps.Store.Container(ctx, id)
	if err == nil && !ide.PrincipalOf(ctx).MaySee(c.Owner) {
		err = ide.Errorf(ide.ContainerNotFound, "There is no container %q.", id)
	}
	return c, err
}

// shown returns a container that the caller may know of, as the API shows it.
func (s *server) shown(ctx context.Context, id string) (ContainerAnswer, error) {
	c, err := s.visible(ctx, id)
	if err != nil {
		return ContainerAnswer{}, err
	}
	all, err := s.answerContainers(ctx, []ide.Container{c})
	if err != nil {
		return ContainerAnswer{}, err
	}
	switch j, err := s.deps.Store.Job(ctx, c.Job); {
	case err == nil:
		answer := functions.AnswerJob(j)
		all[0].Job = &answer
	case !ide.HasCode(err, ide.JobNotFound):
		return ContainerAnswer{}, err
	}
	return all[0], nil
}

// scope limits a filter to what the caller may see.
func scope(ctx context.Context, f store.Filter) store.Filter {
	if p := ide.PrincipalOf(ctx); p.Role == ide.Client {
		f.Owner = p.Name
	}
	return f
}

func (s *server) containers(api huma.API) {
	check := read("check-container", "/api/containers/check", "containers", "Whether a start would be admitted now, and where; makes nothing")
	check.Method = http.MethodPost
	huma.Register(api, check, func(ctx context.Context, in *struct {
		Body functions.CheckRequest
	}) (*body[functions.CheckAnswer], error) {
		out, err := functions.Check(ctx, s.deps, ide.PrincipalOf(ctx), in.Body)
		if err != nil {
			return nil, err
		}
		return &body[functions.CheckAnswer]{out}, nil
	})
	huma.Register(api, read("list-containers", "/api/containers", "containers", "List containers, newest first"),
		func(ctx context.Context, in *listContainersInput) (*body[ContainerList], error) {
			f := scope(ctx, store.Filter{Owner: in.Owner, Status: in.Status, Limit: in.Limit, Offset: in.Offset})
			if in.Unsaved {
				f.Status = store.Unsaved
			}
			list, total, err := s.deps.Store.SearchContainers(ctx, f, store.Search{Text: in.Text, Node: in.Node, Sort: in.Sort})
			if err != nil {
				return nil, err
			}
			out := ContainerList{Page: Page{total, in.Limit, in.Offset}}
			if out.Containers, err = s.answerContainers(ctx, list); err != nil {
				return nil, err
			}
			return &body[ContainerList]{out}, nil
		})
	huma.Register(api, read("get-container", "/api/containers/{id}", "containers", "Get a container", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[ContainerAnswer], error) {
			c, err := s.shown(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[ContainerAnswer]{c}, nil
		})
	huma.Register(api, read("get-container-events", "/api/containers/{id}/events", "containers", "What happened to a container, oldest first", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[EventList], error) {
			c, err := s.visible(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			events, err := s.deps.Store.History(ctx, c.ID)
			if err != nil {
				return nil, err
			}
			out := EventList{Events: make([]EventAnswer, len(events))}
			for i, e := range events {
				out.Events[i] = answerEvent(e)
			}
			return &body[EventList]{out}, nil
		})
	huma.Register(api, read("list-generations", "/api/containers/{id}/generations", "containers",
		"Kept saves of a container's workspace, newest first; none where it is kept nowhere", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[GenerationList], error) {
			c, err := s.visible(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			list, err := functions.Generations(ctx, s.deps, c)
			if err != nil {
				return nil, err
			}
			return &body[GenerationList]{GenerationList{list}}, nil
		})
	huma.Register(api, read("get-container-credentials", "/api/containers/{id}/credentials", "containers",
		"Passwords of the desktop and of code-server", http.StatusForbidden, http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[CredentialsAnswer], error) {
			c, err := s.visible(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			secrets, err := functions.Secrets(s.deps, c)
			if err != nil {
				return nil, err
			}
			out := CredentialsAnswer{VNCPassword: secrets.VNCPassword, CodePassword: secrets.CodePassword}
			if c.Webhook != "" {
				w, err := s.deps.Store.Webhook(ctx, c.Webhook)
				if err == nil {
					out.WebhookSecret, err = functions.WebhookSecret(s.deps, w)
				}
				if err != nil && !ide.HasCode(err, ide.NotFound) { // it was deleted
					return nil, err
				}
			}
			return &body[CredentialsAnswer]{out}, nil
		})
}
