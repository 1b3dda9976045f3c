package openapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"berth/functions"
	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// ActionRequest is what is to be done to a container.
type ActionRequest struct {
	Action string `json:"action" enum:"start,stop,restart,delete" doc:"start one that is down, stop one with its workspace saved, restart does both, delete stops it if it runs and drops its record"`
}

type actionInput struct {
	functions.Request
	ID   string `path:"id" maxLength:"64" doc:"Container" example:"k3xqh5zt2mwfa"`
	Body ActionRequest
}

type actionOutput struct {
	Location   string `header:"Location" doc:"The job"`
	RetryAfter string `header:"Retry-After" doc:"Seconds until it makes sense to look at the job"`
	Applied    string `header:"Preference-Applied" doc:"wait=N, if the answer was held"`
	Body       functions.JobAnswer
}

// actions serves the original design's quick actions: the same jobs as the
// containers' own operations, under one address.
func (s *server) actions(api huma.API) {
	op := read("act-on-container", "/api/dashboard/container/{id}/action", "dashboard", "Start, stop, restart or delete a container",
		http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests)
	op.Method, op.DefaultStatus = http.MethodPost, http.StatusAccepted
	huma.Register(api, op, func(ctx context.Context, in *actionInput) (*actionOutput, error) {
		out, err := functions.Act(ctx, s.deps, ide.PrincipalOf(ctx), in.Body.Action, in.ID, in.Request)
		if err != nil {
			return nil, err
		}
		if out.Done {
			return nil, ide.Errorf(ide.Conflict, "The container is stopped already.")
		}
		res := &actionOutput{RetryAfter: "1", Body: functions.AnswerJob(out.Job)}
		if out.Answered != "" {
			if err := json.Unmarshal([]byte(out.Answered), &res.Body); err != nil {
				return nil, fmt.Errorf("decode answer: %w", err)
			}
		}
		res.Location = res.Body.Links.Self
		if most := functions.Patience(in.Prefer); most > 0 {
			j, err := s.wait(ctx, res.Body.ID, most)
			if err != nil {
				return nil, err
			}
			res.Applied, res.Body = functions.Applied(most), functions.AnswerJob(j)
			if j.Status.Ended() {
				res.RetryAfter = ""
			}
		}
		return res, nil
	})
}
