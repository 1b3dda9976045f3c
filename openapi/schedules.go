package openapi

import (
	"context"
	"net/http"

	"berth/functions"
	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// ScheduleList lists what runs by itself, by function.
type ScheduleList struct {
	Schedules []functions.Schedule `json:"schedules" doc:"By function"`
}

type scheduleInput struct {
	Name string `path:"name" maxLength:"64" example:"idle-sweep" doc:"Schedule"`
}

// schedules are for admins.
func (s *server) schedules(api huma.API) {
	huma.Register(api, read("list-schedules", "/api/schedules", "schedules", "What runs by itself, and when", http.StatusForbidden),
		func(ctx context.Context, _ *struct{}) (*body[ScheduleList], error) {
			list, err := functions.Schedules(ctx, s.deps)
			if err != nil {
				return nil, err
			}
			return &body[ScheduleList]{ScheduleList{list}}, nil
		})
	one := func(ctx context.Context, name string) (*body[functions.Schedule], error) {
		found, err := functions.ScheduleNamed(ctx, s.deps, name)
		if err != nil {
			return nil, err
		}
		return &body[functions.Schedule]{found}, nil
	}
	huma.Register(api, read("get-schedule", "/api/schedules/{name}", "schedules", "Get a schedule", http.StatusForbidden, http.StatusNotFound),
		func(ctx context.Context, in *scheduleInput) (*body[functions.Schedule], error) {
			return one(ctx, in.Name)
		})
	run := read("run-schedule", "/api/schedules/{name}/run", "schedules", "Run it now, also while it is paused", http.StatusForbidden, http.StatusNotFound)
	run.Method = http.MethodPost
	huma.Register(api, run, func(ctx context.Context, in *scheduleInput) (*acceptedJob, error) {
		j, err := functions.RunSchedule(ctx, s.deps, ide.PrincipalOf(ctx), in.Name)
		if err != nil {
			return nil, err
		}
		return acceptJob(j), nil
	})
	for _, change := range []struct {
		verb, summary string
		do            func(context.Context, *functions.Deps, ide.Principal, string) error
	}{
		{"pause", "Let it rest until it is resumed", functions.PauseSchedule},
		{"resume", "End a pause; what fell into it is not made up for", functions.ResumeSchedule},
	} {
		op := read(change.verb+"-schedule", "/api/schedules/{name}/"+change.verb, "schedules", change.summary, http.StatusForbidden, http.StatusNotFound)
		op.Method = http.MethodPost
		huma.Register(api, op, func(ctx context.Context, in *scheduleInput) (*body[functions.Schedule], error) {
			if err := change.do(ctx, s.deps, ide.PrincipalOf(ctx), in.Name); err != nil {
				return nil, err
			}
			return one(ctx, in.Name)
		})
	}
}
