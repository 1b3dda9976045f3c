package worker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/store"
)

// instants returns the instants of which there was a job of a function, with how
// often.
func (b *bench) instants(function string) map[time.Time]int {
	b.Helper()
	jobs, _, err := b.st.Jobs(b.Context(), store.Filter{Limit: 1000})
	b.must(err)
	seen := map[time.Time]int{}
	for _, j := range jobs {
		if j.Function == function && j.Instant != nil {
			seen[*j.Instant]++
		}
	}
	return seen
}

// Four workers with one schedule: each instant has one job. Their own clocks do
// not matter, since none of them is asked.
func TestEachInstantHasOneJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.deps.Schedules = map[string]string{"sweep-jobs": "@every 1s"}
	for range 4 {
		b.run(Config{})
	}
	b.until("five instants had their job", func() bool { return len(b.instants("sweep-jobs")) >= 5 })
	for at, n := range b.instants("sweep-jobs") {
		if n != 1 || !at.Equal(at.Truncate(time.Second)) {
			t.Errorf("%s had %d jobs, want one of each whole second", at, n)
		}
	}
}

func TestAPausedScheduleRestsOnAllWorkers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.deps.Schedules = map[string]string{"sweep-jobs": "@every 1s", "sweep-unsaved": "@every 1s"}
	root := ide.Principal{Name: "root", Role: ide.Admin}
	b.must(functions.PauseSchedule(t.Context(), b.deps, root, "jobs-sweep"))
	for range 2 {
		b.run(Config{})
	}
	b.until("the other had three instants", func() bool { return len(b.instants("sweep-unsaved")) >= 3 })
	if got := b.instants("sweep-jobs"); len(got) > 0 {
		t.Errorf("while it was paused: %v", got)
	}
	j, err := functions.RunSchedule(t.Context(), b.deps, root, "jobs-sweep")
	b.must(err)
	b.ends(j.ID, ide.JobSucceeded)
	b.must(functions.ResumeSchedule(t.Context(), b.deps, root, "jobs-sweep"))
	b.until("it goes on", func() bool { return len(b.instants("sweep-jobs")) >= 1 })
}

func TestCronEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.worker(Config{}).cron(ctx) }()
	cancel()
	select {
	case err := <-done:
		b.must(err)
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}

func TestCronRefusesAScheduleThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.deps.Schedules = map[string]string{"sweep-jobs": "whenever"}
	if err := b.worker(Config{}).cron(t.Context()); err == nil {
		t.Error("no error")
	}
}

// What was due while nobody could ask is asked for once, late.
func TestMissedInstantsAreOneJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.deps.Schedules = map[string]string{"sweep-jobs": "@every 1m"}
	table, err := functions.NewTimetable(b.deps)
	b.must(err)
	for f := range table {
		if f != "sweep-jobs" {
			delete(table, f)
		}
	}
	now, err := b.st.Clock(t.Context())
	b.must(err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			done := now.Add(-10 * time.Minute)
			if wait, err := b.worker(Config{}).askDue(context.Background(), table, &done); err != nil || wait > longestWait || done.Before(now) {
				t.Errorf("wait %s, done %s, %v", wait, done, err)
			}
		})
	}
	wg.Wait()
	got := b.instants("sweep-jobs")
	if len(got) == 0 || len(got) > 2 { // a minute may have begun meanwhile
		t.Errorf("got jobs %v, want one, of the last minute", fmt.Sprint(got))
	}
}
