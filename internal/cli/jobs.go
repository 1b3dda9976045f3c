package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"berth/openapi"
)

// Jobs looks after jobs.
type Jobs struct {
	List   JobsList   `cmd:"" default:"withargs" help:"List jobs."`
	Cancel JobsCancel `cmd:"" help:"Cancel a job that has not ended; what it has made is removed."`
	Retry  JobsRetry  `cmd:"" help:"Try a failed job again, as a new job, and follow it."`
}

// JobsList lists jobs.
type JobsList struct {
	Status string `help:"Only those in this state."`
	Limit  int    `default:"50" help:"At most so many."`
	Offset int    `help:"Leave out so many of the newest."`
}

// Run implements the command.
func (c JobsList) Run(g *Globals) error {
	var l openapi.JobList
	if err := g.call(http.MethodGet, "/api/jobs", page(c.Status, c.Limit, c.Offset), nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "JOB\tSTATUS\tATTEMPT\tAGE\tERROR", func(row func(...any)) {
			for _, j := range l.Jobs {
				message := ""
				if j.Error != nil {
					message = j.Error.Message
				}
				row(j.ID, j.Status, fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts), age(j.QueuedAt), message)
			}
		})
		more(w, len(l.Jobs), l.Page)
	})
}

// JobsCancel ends a job before its time.
type JobsCancel struct {
	Job string `arg:"" predictor:"job" help:"Job."`
}

// Run implements the command.
func (c JobsCancel) Run(g *Globals) error {
	return g.job(http.MethodDelete, "/api/jobs/"+url.PathEscape(c.Job), nil, true)
}

// JobsRetry opens a new job in the place of a failed one.
type JobsRetry struct {
	Job    string `arg:"" predictor:"job" help:"Job."`
	NoWait bool   `help:"Do not wait until it ends."`
}

// Run implements the command.
func (c JobsRetry) Run(g *Globals) error {
	return g.job(http.MethodPost, "/api/jobs/"+url.PathEscape(c.Job)+"/retry", nil, c.NoWait)
}

// Wait follows a job.
type Wait struct {
	Job string `arg:"" predictor:"job" help:"Job."`
}

// Run implements the command.
func (c Wait) Run(g *Globals) error { return g.follow(c.Job) }
