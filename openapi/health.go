package openapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// SystemHealth is the state of the control plane.
type SystemHealth struct {
	Status     string           `json:"status" enum:"ok,degraded" doc:"degraded when a check fails"`
	Version    string           `json:"version" example:"1.0.0" doc:"Of this process"`
	Uptime     int              `json:"uptime" doc:"Seconds since this process started" example:"86400"`
	Durability string           `json:"durability" doc:"What a crash of Redis may cost: aof, external, or snapshot (up to 30 seconds)" example:"aof"`
	Isolation  string           `json:"isolation" enum:"on,off" doc:"Whether containers are kept from reaching each other"`
	Workspaces string           `json:"workspaces" enum:"kept,single-writer,off" doc:"single-writer: S3_SINGLE_WRITER is set, so nothing keeps two containers of one bucket and prefix from overwriting each other's saves; off: workspaces are kept nowhere"`
	Checks     map[string]Check `json:"checks" doc:"redis, swarm, workers"`
}

// Check is one thing that was looked at.
type Check struct {
	OK      bool   `json:"ok" doc:"Whether it is well"`
	Message string `json:"message,omitempty" example:"Redis does not answer." doc:"What is wrong"`
}

type healthAnswer struct {
	Status int
	Body   SystemHealth
}

// Look returns the state of the control plane.
func (s *server) look(ctx context.Context) SystemHealth {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	h := SystemHealth{Status: "ok", Version: s.cfg.Version, Uptime: int(time.Since(s.start).Seconds()), Durability: s.cfg.Durability,
		Isolation: "on", Workspaces: "kept", Checks: map[string]Check{"redis": {OK: true}, "workers": {OK: true}, "swarm": {OK: true}}}
	if !s.cfg.Isolation {
		h.Isolation = "off"
	}
	switch {
	case s.deps.S3.Off():
		h.Workspaces = "off"
	case s.deps.S3.SingleWriter():
		h.Workspaces = "single-writer"
	}
	if err := s.deps.Store.Ping(ctx); err != nil {
		for name := range h.Checks {
			h.Checks[name] = Check{Message: "Redis does not answer."}
		}
	} else {
		h.Checks["workers"], h.Checks["swarm"] = s.lookWorkers(ctx)
	}
	for _, c := range h.Checks {
		if !c.OK {
			h.Status = "degraded"
		}
	}
	return h
}

// lookWorkers judges by what the workers said of themselves lately.
func (s *server) lookWorkers(ctx context.Context) (workers, swarm Check) {
	list, err := s.deps.Store.Workers(ctx, 15*time.Second)
	if err != nil || len(list) == 0 {
		return Check{Message: "No worker has reported in the last 15 seconds."}, Check{Message: "No worker tells."}
	}
	swarm = Check{Message: "No manager's engine answers."}
	for _, w := range list {
		if w.Manager && w.Engine {
			swarm = Check{OK: true}
		}
	}
	if !swarm.OK {
		return Check{OK: true}, swarm
	}
	nodes, err := s.deps.Store.Nodes(ctx)
	placeable := 0
	for _, n := range nodes {
		if n.Placeable() {
			placeable++
		}
	}
	if err != nil || placeable == 0 {
		swarm = Check{Message: "No node can take containers: none is ready and active with its isolation filter standing and its images there."}
	}
	return Check{OK: true}, swarm
}

func (s *server) health(api huma.API) {
	op := read("health", "/api/health", "health", "State of the control plane")
	op.Security = []map[string][]string{}
	op.Responses = map[string]*huma.Response{"503": {Description: "Something is wrong; the body says what",
		Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/SystemHealth"}}}}}
	op.Errors = []int{http.StatusInternalServerError}
	huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*healthAnswer, error) {
		out := &healthAnswer{Status: http.StatusOK, Body: s.look(ctx)}
		if out.Body.Status != "ok" {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	})
}

// ready says whether requests can be served: Redis answers.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.deps.Store.Ping(ctx); err != nil {
		s.write(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
