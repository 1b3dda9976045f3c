package openapi

import (
	"context"
	"net/http"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
)

type listJobsInput struct {
	ListInput
	Status   string `query:"status" enum:"queued,running,retrying,succeeded,failed,canceled" doc:"Only those in this state"`
	Function string `query:"function" maxLength:"64" doc:"Only those of this function" example:"container-create"`
}

// JobList is a page of jobs, newest first.
type JobList struct {
	Jobs []functions.JobAnswer `json:"jobs" doc:"This page, newest first"`
	Page
}

type jobInput struct {
	ID     string `path:"id" maxLength:"200" doc:"Job" example:"container-create:k3xqh5zt2mwfa:1"`
	Wait   int    `query:"wait" minimum:"0" maximum:"60" default:"0" doc:"Hold the answer until the job ends, at most this many seconds" example:"30"`
	Prefer string `header:"Prefer" maxLength:"100" doc:"wait=N, as the parameter (RFC 7240)" example:"wait=30"`
}

type jobOnlyInput struct {
	ID string `path:"id" maxLength:"200" doc:"Job" example:"container-create:k3xqh5zt2mwfa:1"`
}

// wait is how long the caller is ready to wait.
func (in jobInput) wait() time.Duration {
	if in.Wait > 0 {
		return time.Duration(in.Wait) * time.Second
	}
	return functions.Patience(in.Prefer)
}

// heldJob is a job whose answer may have been held.
type heldJob struct {
	Applied string `header:"Preference-Applied" doc:"wait=N, if the answer was held for Prefer"`
	Body    functions.JobAnswer
}

// acceptedJob answers with a job under way: where it is, and when to look at it.
type acceptedJob struct {
	Location   string `header:"Location" doc:"The job"`
	RetryAfter string `header:"Retry-After" doc:"Seconds until it makes sense to look at the job"`
	Body       functions.JobAnswer
}

func acceptJob(j ide.Job) *acceptedJob {
	a := functions.AnswerJob(j)
	return &acceptedJob{Location: a.Links.Self, RetryAfter: "1", Body: a}
}

// visibleJob returns a job that the caller may know of.
func (s *server) visibleJob(ctx context.Context, id string) (ide.Job, error) {
	j, err := s.deps.Store.Job(ctx, id)
	if err == nil && !ide.PrincipalOf(ctx).MaySee(j.Owner) {
		if _, cerr := s.visible(ctx, j.Container); cerr != nil {
			err = ide.Errorf(ide.JobNotFound, "There is no job %q.", id)
		}
	}
	return j, err
}

// wait returns the job when it has ended, or when the time is up or the
// process is to end.
func (s *server) wait(ctx context.Context, job string, most time.Duration) (ide.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	go func() {
		select {
		case <-s.cfg.Draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	return s.deps.Store.WaitJob(ctx, job)
}

func (s *server) jobs(api huma.API) {
	huma.Register(api, read("list-jobs", "/api/jobs", "jobs", "List jobs, newest first"),
		func(ctx context.Context, in *listJobsInput) (*body[JobList], error) {
			f := scope(ctx, store.Filter{Status: in.Status, Limit: in.Limit, Offset: in.Offset})
			list, total, err := s.deps.Store.SearchJobs(ctx, f, store.Search{Function: in.Function})
			if err != nil {
				return nil, err
			}
			out := JobList{Jobs: make([]functions.JobAnswer, len(list)), Page: Page{total, in.Limit, in.Offset}}
			for i, j := range list {
				out.Jobs[i] = functions.AnswerJob(j)
			}
			return &body[JobList]{out}, nil
		})
	huma.Register(api, read("get-job", "/api/jobs/{id}", "jobs", "Get a job, or wait for its end", http.StatusNotFound),
		func(ctx context.Context, in *jobInput) (*heldJob, error) {
			j, err := s.visibleJob(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			out := &heldJob{}
			if most := in.wait(); most > 0 {
				if j, err = s.wait(ctx, in.ID, most); err != nil {
					return nil, err
				}
				if in.Wait == 0 {
					out.Applied = functions.Applied(most)
				}
			}
			out.Body = functions.AnswerJob(j)
			return out, nil
		})
	cancel := read("cancel-job", "/api/jobs/{id}", "jobs", "Cancel a job", http.StatusForbidden, http.StatusNotFound, http.StatusConflict)
	cancel.Method, cancel.DefaultStatus = http.MethodDelete, http.StatusAccepted
	huma.Register(api, cancel, func(ctx context.Context, in *jobOnlyInput) (*acceptedJob, error) {
		if _, err := s.visibleJob(ctx, in.ID); err != nil {
			return nil, err
		}
		j, err := functions.Cancel(ctx, s.deps, ide.PrincipalOf(ctx), in.ID)
		if err != nil {
			return nil, err
		}
		return acceptJob(j), nil
	})
	retry := read("retry-job", "/api/jobs/{id}/retry", "jobs", "Try a failed job again, as a new job", http.StatusForbidden, http.StatusNotFound, http.StatusConflict)
	retry.Method, retry.DefaultStatus = http.MethodPost, http.StatusAccepted
	huma.Register(api, retry, func(ctx context.Context, in *jobOnlyInput) (*acceptedJob, error) {
		if _, err := s.visibleJob(ctx, in.ID); err != nil {
			return nil, err
		}
		j, err := functions.Retry(ctx, s.deps, ide.PrincipalOf(ctx), in.ID)
		if err != nil {
			return nil, err
		}
		return acceptJob(j), nil
	})
}
