package openapi

import (
	"context"
	"net/http"
	"time"

	"berth/functions"
	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// IdleAnswer says when a running container stops for want of use.
type IdleAnswer struct {
	StopsAt      *time.Time         `json:"stopsAt,omitempty" doc:"When it stops unless it is used or kept alive; missing is never"`
	Reason       ide.ShutdownReason `json:"reason,omitempty" enum:"inactivity,resource_limit" doc:"inactivity, or resource_limit at the end of its lifetime, which nothing puts off"`
	LastActivity *time.Time         `json:"lastActivity,omitempty" doc:"When it was last used"`
	Source       string             `json:"source,omitempty" enum:"start,editor,desktop,web,cpu,traffic" doc:"What was used then"`
	Signal       string             `json:"signal,omitempty" enum:"record,agent,gateway" doc:"Who has seen it"`
	Timeout      int                `json:"timeout" doc:"Seconds without use after which it stops; 0 is never" example:"1800"`
	KeepUntil    *time.Time         `json:"keepUntil,omitempty" doc:"It is kept alive until then"`
	Warned       bool               `json:"warned,omitempty" doc:"Its users were warned"`
}

func answerIdle(c ide.Container, a ide.Activity, longest time.Duration) *IdleAnswer {
	d, ok := c.Deadline(a, longest)
	out := &IdleAnswer{Source: d.Use.Source, Signal: d.Use.Signal, Timeout: c.IdleTimeout, KeepUntil: c.Watch.KeepUntil, Warned: c.Watch.StopsAt != nil}
	if !d.Use.At.IsZero() {
		out.LastActivity = &d.Use.At
	}
	if ok {
		out.StopsAt, out.Reason = &d.At, d.Reason
		if w := c.Watch.StopsAt; w != nil && w.After(d.At) {
			out.StopsAt = w // the warning came late
		}
	}
	return out
}

type keepaliveInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Container"`
	Body *struct {
		Until time.Time `json:"until,omitempty" example:"2030-01-02T15:04:05Z" doc:"Until when; its idle timeout from now if missing"`
	}
}

// keepalive puts off idle stops.
func (s *server) keepalive(api huma.API) {
	op := read("keep-container-alive", "/api/containers/{id}/keepalive", "containers",
		"Put off the stop of a running container that nobody uses; the end of its lifetime stays", http.StatusForbidden, http.StatusNotFound, http.StatusConflict)
	op.Method = http.MethodPost
	huma.Register(api, op, func(ctx context.Context, in *keepaliveInput) (*body[IdleAnswer], error) {
		p := ide.PrincipalOf(ctx)
		var until time.Time
		if in.Body != nil {
			until = in.Body.Until
		}
		c, err := functions.Keepalive(ctx, s.deps, p, in.ID, until)
		if err != nil {
			return nil, err
		}
		seen, err := s.deps.Store.Activity(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		return &body[IdleAnswer]{*answerIdle(c, seen[c.ID], s.deps.MaxLifetime)}, nil
	})
}
