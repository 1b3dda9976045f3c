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
	ID             string             `json:"id" example:"k3xqh5zt2mwfa"`
	ServiceName    string             `json:"serviceName" example:"berth-k3xqh5zt2mwfa"`
	Status         ide.Status         `json:"status" enum:"starting,running,stopping,stopped,failed"`
	URLs           ide.URLs           `json:"urls"`
	S3Bucket       string             `json:"s3Bucket"`
	S3Region       string             `json:"s3Region"`
	S3Prefix       string             `json:"s3Prefix,omitempty"`
	Image          string             `json:"image"`
	Node           string             `json:"node,omitempty" doc:"Engine ID of the node it runs on"`
	Owner          string             `json:"owner" doc:"Name of the API key that started it"`
	Labels         map[string]string  `json:"labels,omitempty"`
	ResourceLimits ResourceLimits     `json:"resourceLimits"`
	CreatedAt      time.Time          `json:"createdAt"`
	StartedAt      *time.Time         `json:"startedAt,omitempty"`
	StoppedAt      *time.Time         `json:"stoppedAt,omitempty"`
	LastActivity   *time.Time         `json:"lastActivity,omitempty"`
	Uptime         int                `json:"uptime,omitempty" doc:"Seconds since it became running"`
	ShutdownReason ide.ShutdownReason `json:"shutdownReason,omitempty" enum:"inactivity,manual,error,resource_limit"`
	Error          *ide.Error         `json:"error,omitempty" doc:"Why it failed"`
	Health         *ide.Health        `json:"health,omitempty"`
	Job            string             `json:"job,omitempty" doc:"The latest job that changed its state"`
}

// ResourceLimits of a container.
type ResourceLimits struct {
	CPULimit    string `json:"cpuLimit" example:"2" doc:"Cores"`
	MemoryLimit string `json:"memoryLimit" example:"4GiB"`
}

func answerContainer(c ide.Container, a ide.Activity) ContainerAnswer {
	out := ContainerAnswer{
		ID: c.ID, ServiceName: c.ServiceName(), Status: c.Status, URLs: c.URLs, S3Bucket: c.S3.Name, S3Region: c.S3.Region,
		S3Prefix: c.S3.Prefix, Image: c.Image, Node: c.Node, Owner: c.Owner, Labels: c.Labels,
		ResourceLimits: ResourceLimits{
			CPULimit:    strconv.FormatFloat(float64(c.Resources.CPULimit)/1e9, 'f', -1, 64),
			MemoryLimit: units.BytesSize(float64(c.Resources.MemoryLimit)),
		},
		CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, StoppedAt: c.StoppedAt, ShutdownReason: c.ShutdownReason,
		Error: c.Error, Health: c.Health, Job: c.Job,
	}
	if !a.LastActivity.IsZero() {
		out.LastActivity = &a.LastActivity
	}
	switch c.Status {
	case ide.Running:
		if c.StartedAt != nil {
			out.Uptime = int(time.Since(*c.StartedAt).Seconds())
		}
	case ide.Starting:
		out.Health = &ide.Health{Status: "starting", LastCheck: time.Now().UTC()}
	}
	return out
}

type body[T any] struct{ Body T }

// Page is where a list stands in the whole.
type Page struct {
	Total  int `json:"total" doc:"How many match"`
	Limit  int `json:"limit"`
	Offset int `json:"offset"`
}

// ListInput chooses a page.
type ListInput struct {
	Limit  int `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Offset int `query:"offset" minimum:"0" maximum:"10000000" default:"0"`
}

type listContainersInput struct {
	ListInput
	Status string `query:"status" enum:"starting,running,stopping,stopped,failed"`
	Owner  string `query:"owner" maxLength:"63" doc:"Only this key's; for keys that see all"`
}

// ContainerList is a page of containers, newest first.
type ContainerList struct {
	Containers []ContainerAnswer `json:"containers"`
	Page
}

type idInput struct {
	ID string `path:"id" maxLength:"64" doc:"Container"`
}

// credentialsAnswer is not cached, not logged and not in any other answer.
type credentialsAnswer struct {
	VNCPassword  string `json:"vncPassword"`
	CodePassword string `json:"codeServerPassword"`
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
		Body functions.CreateContainerRequest
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
			list, total, err := s.deps.Store.Containers(ctx, f)
			if err != nil {
				return nil, err
			}
			ids := make([]string, len(list))
			for i, c := range list {
				ids[i] = c.ID
			}
			seen, err := s.deps.Store.Activity(ctx, ids...)
			if err != nil {
				return nil, err
			}
			out := ContainerList{Containers: make([]ContainerAnswer, len(list)), Page: Page{total, in.Limit, in.Offset}}
			for i, c := range list {
				out.Containers[i] = answerContainer(c, seen[c.ID])
			}
			return &body[ContainerList]{out}, nil
		})
	huma.Register(api, read("get-container", "/api/containers/{id}", "containers", "Get a container", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[ContainerAnswer], error) {
			c, err := s.visible(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			seen, err := s.deps.Store.Activity(ctx, c.ID)
			if err != nil {
				return nil, err
			}
			return &body[ContainerAnswer]{answerContainer(c, seen[c.ID])}, nil
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
	huma.Register(api, read("get-container-credentials", "/api/containers/{id}/credentials", "containers",
		"Passwords of the desktop and of code-server", http.StatusForbidden, http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[credentialsAnswer], error) {
			c, err := s.visible(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			if p := ide.PrincipalOf(ctx); p.Role == ide.Viewer {
				return nil, ide.Errorf(ide.Forbidden, "A viewer's key does not see passwords.")
			}
			secrets, err := functions.Secrets(s.deps, c)
			if err != nil {
				return nil, err
			}
			return &body[credentialsAnswer]{credentialsAnswer{secrets.VNCPassword, secrets.CodePassword}}, nil
		})
}
