package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"berth/functions"
	"berth/openapi"
)

// Keepalive puts off an idle stop.
type Keepalive struct {
	ID
	Until string `help:"Until then, as 2030-01-02T15:04:05Z." xor:"until"`
	For   *Span  `help:"So long from now, as 2h30m; its idle timeout if neither is given." xor:"until"`
}

// Run implements the command.
func (c Keepalive) Run(g *Globals) error {
	var body any
	switch {
	case c.For != nil && *c.For == 0:
		return errors.New("--for must be more than 0")
	case c.For != nil:
		body = map[string]any{"until": time.Now().Add(time.Duration(*c.For)).UTC()}
	case c.Until != "":
		body = map[string]any{"until": c.Until}
	}
	var a openapi.IdleAnswer
	if err := g.call(http.MethodPost, "/api/containers/"+url.PathEscape(c.ID.ID)+"/keepalive", nil, body, &a); err != nil {
		return err
	}
	return g.show(a, func(w io.Writer) { fmt.Fprintln(w, idle(a)) })
}

// idle says in words when a container stops.
func idle(a openapi.IdleAnswer) string {
	if a.StopsAt == nil {
		return "never stops for want of use"
	}
	s := fmt.Sprintf("stops at %s (%s)", a.StopsAt.Format(time.RFC3339), a.Reason)
	if a.LastActivity != nil {
		s += fmt.Sprintf(", last used %s ago (%s)", age(*a.LastActivity), a.Source)
	}
	return s
}

// Probe probes a container.
type Probe struct {
	ID
	NoWait bool `help:"Do not wait for what it shows."`
}

// Run implements the command.
func (c Probe) Run(g *Globals) error {
	path := "/api/containers/" + url.PathEscape(c.ID.ID)
	if c.NoWait {
		return g.job(http.MethodPost, path+"/probe", nil, true)
	}
	var j functions.JobAnswer
	if err := g.call(http.MethodPost, path+"/probe", nil, nil, &j); err != nil {
		return err
	}
	if _, err := g.wait(j.ID); err != nil {
		return err
	}
	var one openapi.ContainerAnswer
	if err := g.call(http.MethodGet, path, nil, nil, &one); err != nil || one.Health == nil {
		return err
	}
	return g.show(one.Health, func(w io.Writer) {
		h := one.Health
		fmt.Fprintf(w, "%s: editor %t, desktop %t, web %t\n", h.Status, h.Checks.CodeServer, h.Checks.VNC, h.Checks.WebServer)
	})
}

// Schedules are what runs by itself.
type Schedules struct {
	List   SchedulesList   `cmd:"" default:"1" help:"List schedules."`
	Run    SchedulesRun    `cmd:"" help:"Run one now, also while it is paused."`
	Pause  SchedulesPause  `cmd:"" help:"Let one rest."`
	Resume SchedulesResume `cmd:"" help:"End its pause."`
}

// SchedulesList lists schedules.
type SchedulesList struct{}

// Run implements the command.
func (SchedulesList) Run(g *Globals) error {
	var l openapi.ScheduleList
	if err := g.call(http.MethodGet, "/api/schedules", nil, nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) { schedules(w, l.Schedules...) })
}

func schedules(w io.Writer, list ...functions.Schedule) {
	rows(w, "NAME\tCRON\tNEXT\tLAST\tRESULT", func(row func(...any)) {
		for _, s := range list {
			next, last, result := "", "", ""
			if s.Next != nil {
				next = s.Next.Format(time.RFC3339)
			}
			if s.Paused != nil {
				next = "paused by " + s.Paused.By
			}
			if s.Last != nil {
				last = age(*s.Last) + " ago"
			}
			if s.LastJob != nil {
				result = string(s.LastJob.Status)
			}
			row(s.Name, s.Cron, next, last, result)
		}
	})
}

// schedule names one.
type schedule struct {
	Name string `arg:"" help:"Schedule, as idle-sweep."`
}

func (s schedule) path(verb string) string {
	return "/api/schedules/" + url.PathEscape(s.Name) + "/" + verb
}

func (s schedule) change(g *Globals, verb string) error {
	var a functions.Schedule
	if err := g.call(http.MethodPost, s.path(verb), nil, nil, &a); err != nil {
		return err
	}
	return g.show(a, func(w io.Writer) { schedules(w, a) })
}

// SchedulesRun runs one now.
type SchedulesRun struct {
	Schedule schedule `embed:""`
	NoWait   bool     `help:"Do not wait for its end."`
}

// Run implements the command.
func (c SchedulesRun) Run(g *Globals) error {
	return g.job(http.MethodPost, c.Schedule.path("run"), nil, c.NoWait)
}

// SchedulesPause pauses one.
type SchedulesPause struct {
	Schedule schedule `embed:""`
}

// Run implements the command.
func (c SchedulesPause) Run(g *Globals) error { return c.Schedule.change(g, "pause") }

// SchedulesResume resumes one.
type SchedulesResume struct {
	Schedule schedule `embed:""`
}

// Run implements the command.
func (c SchedulesResume) Run(g *Globals) error { return c.Schedule.change(g, "resume") }
