package functions

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"github.com/robfig/cron/v3"
)

// Schedule is a function that runs by itself.
type Schedule struct {
	Name     string       `json:"name" example:"idle-sweep" doc:"It names the schedule in calls"`
	Function string       `json:"function" example:"sweep-idle" doc:"What runs"`
	Doc      string       `json:"description" example:"Stop containers that are not used" doc:"What it does"`
	Cron     string       `json:"cron" example:"@every 15s" doc:"Five fields in UTC, or an interval that is counted from the same time everywhere"`
	Next     *time.Time   `json:"next,omitempty" doc:"Its next instant; missing while it is paused"`
	Last     *time.Time   `json:"last,omitempty" doc:"Its last instant that had a run"`
	LastJob  *JobAnswer   `json:"lastJob,omitempty" doc:"Its newest job, also one that was asked for, as long as it is remembered"`
	Paused   *store.Pause `json:"paused,omitempty" doc:"Since when it rests, and by whom; missing while it does not"`
}

// schedule is the name of a function's schedule: "sweep-idle" has "idle-sweep".
func (i Info) schedule() string {
	if what, ok := strings.CutPrefix(i.Name, "sweep-"); ok {
		return what + "-sweep"
	}
	return i.Name
}

// cron is the schedule that is in force for a function.
func (d *Deps) cron(i Info) string { return cmp.Or(d.Schedules[i.Name], i.Cron) }

// scheduled returns the function that a schedule is of.
func scheduled(name string) (Info, error) {
	for _, f := range All() {
		if f.Cron != "" && f.schedule() == name {
			return f, nil
		}
	}
	return Info{}, ide.Errorf(ide.NotFound, "There is no schedule %q.", name)
}

// Schedules returns what runs by itself, by function.
func Schedules(ctx context.Context, d *Deps) ([]Schedule, error) {
	now, err := d.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	pauses, err := d.Store.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	instants, err := d.Store.LastInstants(ctx)
	if err != nil {
		return nil, err
	}
	list := []Schedule{}
	for _, f := range All() {
		if f.Cron == "" {
			continue
		}
		s := Schedule{Name: f.schedule(), Function: f.Name, Doc: f.Doc, Cron: d.cron(f)}
		if p, ok := pauses[f.Name]; ok {
			s.Paused = &p
		} else {
			when, err := queue.ParseSchedule(s.Cron)
			if err != nil {
				return nil, err
			}
			next := queue.Next(when, now)
			s.Next = &next
		}
		if last, ok := instants[f.Name]; ok {
			s.Last = &last
		}
		job, ok, err := d.Store.LastJob(ctx, f.Name)
		if err != nil {
			return nil, err
		}
		if ok {
			a := AnswerJob(job)
			s.LastJob = &a
		}
		list = append(list, s)
	}
	return list, nil
}

// ScheduleNamed returns one of them, or NOT_FOUND.
func ScheduleNamed(ctx context.Context, d *Deps, name string) (Schedule, error) {
	if _, err := scheduled(name); err != nil {
		return Schedule{}, err
	}
	list, err := Schedules(ctx, d)
	for _, s := range list {
		if s.Name == name {
			return s, nil
		}
	}
	return Schedule{}, err
}

// RunSchedule opens a job of a schedule now, paused or not. It is the open one,
// if there is one.
func RunSchedule(ctx context.Context, d *Deps, p ide.Principal, name string) (ide.Job, error) {
	f, err := scheduled(name)
	if err != nil {
		return ide.Job{}, err
	}
	out, err := f.open(ctx, d, p, time.Time{})
	return out.Job, err
}

// PauseSchedule lets a schedule rest until it is resumed, on all workers.
func PauseSchedule(ctx context.Context, d *Deps, p ide.Principal, name string) error {
	f, err := scheduled(name)
	if err != nil {
		return err
	}
	d.Log.Info("schedule paused", "schedule", name, "by", p.Name)
	return d.Store.Pause(ctx, f.Name, store.Pause{At: time.Now().UTC(), By: p.Name})
}

// ResumeSchedule ends a pause. What fell into it is not made up for.
func ResumeSchedule(ctx context.Context, d *Deps, p ide.Principal, name string) error {
	f, err := scheduled(name)
	if err != nil {
		return err
	}
	d.Log.Info("schedule resumed", "schedule", name, "by", p.Name)
	return d.Store.Resume(ctx, f.Name)
}

// Timetable says when each scheduled function is due.
type Timetable map[string]cron.Schedule

// NewTimetable reads the schedules that are in force.
func NewTimetable(d *Deps) (Timetable, error) {
	t := Timetable{}
	for _, f := range All() {
		if f.Cron == "" {
			continue
		}
		s, err := queue.ParseSchedule(d.cron(f))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		t[f.Name] = s
	}
	return t, nil
}

// Next is the first instant of any function after a time.
func (t Timetable) Next(after time.Time) (next time.Time) {
	for _, s := range t {
		if at := queue.Next(s, after); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// Between returns the last instant of each function that lies after one time
// and not after another.
func (t Timetable) Between(after, until time.Time) map[string]time.Time {
	due := map[string]time.Time{}
	for name, s := range t {
		for at := queue.Next(s, after); !at.After(until); at = queue.Next(s, at) {
			due[name] = at
		}
	}
	return due
}

// OpenInstant opens the job of an instant. Any number of workers may ask at any
// time: the first gets it, and nobody while the schedule is paused.
func OpenInstant(ctx context.Context, d *Deps, name string, at time.Time) error {
	f, ok := registry[name]
	if !ok {
		return ide.Errorf(ide.NotFound, "There is no function %q.", name)
	}
	_, err := f.open(ctx, d, ide.Principal{Name: "schedule", Role: ide.Admin}, at)
	return err
}
