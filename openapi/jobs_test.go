package openapi

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

func TestListJobs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.create(alice, "bucket-1").Job.ID
	b.end(first, ide.JobFailed, ide.Errorf(ide.ContainerStartFailed, "No such image."))
	second := b.create(bob, "bucket-2").Job.ID
	for name, tc := range map[string]struct {
		key, query string
		want       []string
	}{
		"an admin sees all":     {rootKey, "", []string{second, first}},
		"a client sees its own": {aliceKey, "", []string{first}},
		"by status":             {viewKey, "?status=failed", []string{first}},
		"none":                  {bobKey, "?status=failed", []string{}},
		"a page":                {rootKey, "?limit=1&offset=1", []string{first}},
	} {
		var got JobList
		b.get(tc.key, "/api/jobs"+tc.query, &got)
		have := []string{}
		for _, j := range got.Jobs {
			have = append(have, j.ID)
		}
		slices.Sort(have)
		slices.Sort(tc.want)
		if diff := cmp.Diff(tc.want, have); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if want := map[bool]int{true: 2, false: len(tc.want)}[tc.key == rootKey]; got.Total != want {
			t.Errorf("%s: got total %d, want %d", name, got.Total, want)
		}
	}
}

func TestGetJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := b.create(alice, "bucket-1")
	var got functions.JobAnswer
	b.get(aliceKey, "/api/jobs/"+out.Job.ID, &got)
	if got.Status != ide.JobQueued || got.Links.Container != "/api/containers/"+out.Container.ID || got.Steps == nil {
		t.Errorf("got %+v", got)
	}
	// a job on alice's container that somebody else asked for is hers to see
	stop, err := functions.StopContainer.Enqueue(t.Context(), b.deps, ide.Principal{Name: "root", Role: ide.Admin}, &functions.StopContainerArgs{ID: out.Container.ID})
	if err != nil {
		t.Fatal(err)
	}
	b.get(aliceKey, "/api/jobs/"+stop.Job.ID, &got)
	b.refused(b.call(bobKey, "GET", "/api/jobs/"+stop.Job.ID, ""), 404, ide.JobNotFound, "/api/jobs/"+stop.Job.ID)
}

func TestWaitForAJob(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]string{"?wait=30": nil, "": {"Prefer", "respond-async, wait=30"}} {
		t.Run("ends/"+name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.follow()
			job := b.create(alice, "bucket-1").Job.ID
			done := make(chan *httptest.ResponseRecorder, 1)
			go func() { done <- b.call(aliceKey, "GET", "/api/jobs/"+job+name, "", headers...) }()
			b.end(job, ide.JobSucceeded, nil)
			select {
			case w := <-done:
				var got functions.JobAnswer
				b.read(w, http.StatusOK, &got)
				if got.Status != ide.JobSucceeded {
					t.Errorf("got %s, want succeeded", got.Status)
				}
			case <-time.After(time.Minute):
				t.Fatal("the answer does not come when the job ends")
			}
		})
	}
	t.Run("time is up", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		b.follow()
		job := b.create(alice, "bucket-1").Job.ID
		begun := time.Now()
		var got functions.JobAnswer
		b.get(aliceKey, "/api/jobs/"+job+"?wait=1", &got)
		if took := time.Since(begun); got.Status != ide.JobQueued || took < time.Second {
			t.Errorf("got %s after %v, want it as it stands after a second", got.Status, took)
		}
	})
	t.Run("ended before", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		job := b.create(alice, "bucket-1").Job.ID
		b.end(job, ide.JobSucceeded, nil)
		begun := time.Now()
		var got functions.JobAnswer
		b.get(aliceKey, "/api/jobs/"+job+"?wait=60", &got)
		if took := time.Since(begun); took > 50*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestHowLongToWait(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		wait   int
		prefer string
		want   int
	}{{0, "", 0}, {5, "", 5}, {0, "wait=7", 7}, {5, "wait=7", 5}, {0, "respond-async, wait=7", 7}, {0, `Wait = "7"; x=y`, 7}, {0, "wait=600", 60},
		{0, "wait=99999999999999999999", 0}, {0, "wait=-1", 0}, {0, "wait=soon", 0}, {0, "wait", 0}, {0, "return=minimal", 0}} {
		if got := (jobInput{Wait: tc.wait, Prefer: tc.prefer}).wait(); got != time.Duration(tc.want)*time.Second {
			t.Errorf("wait=%d, Prefer: %q: got %d, want %d", tc.wait, tc.prefer, got, tc.want)
		}
	}
}

func TestCancelJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.create(alice, "bucket-1").Job.ID
	var got functions.JobAnswer
	w := b.call(aliceKey, "DELETE", "/api/jobs/"+job, "")
	if b.read(w, http.StatusAccepted, &got); w.Header().Get("Location") != "/api/jobs/"+job || w.Header().Get("Retry-After") != "1" {
		t.Errorf("the job is said to be at %q, in %q seconds", w.Header().Get("Location"), w.Header().Get("Retry-After"))
	}
	h, err := b.st.Take(t.Context(), job, 1<<20)
	if err != nil || !h.Flags.Cancel || got.ID != job {
		t.Errorf("got %+v, %v, want the job to be canceled", got, err)
	}
	if _, err := h.End(t.Context(), ide.JobCanceled); err != nil {
		t.Fatal(err)
	}
	b.refused(b.call(aliceKey, "DELETE", "/api/jobs/"+job, ""), 409, ide.Conflict, "/api/jobs/"+job)
}
