package openapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
)

func TestIdleOfAContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.deps.MaxKeepalive = time.Hour
	id := b.create(alice, "bucket-1").Container.ID
	var got ContainerAnswer
	b.get(aliceKey, "/api/containers/"+id, &got)
	if got.Idle != nil || got.LastActivity != nil {
		t.Errorf("while it starts: got %+v, %v", got.Idle, got.LastActivity)
	}
	start := time.Now().UTC().Add(-time.Minute).Truncate(time.Second)
	b.update(id, func(c *ide.Container) {
		c.Status, c.StartedAt, c.IdleTimeout = ide.Running, &start, 600
		c.Watch.Used = &ide.Use{At: start, Source: ide.UseEditor, Signal: ide.SignalAgent}
	})
	b.get(aliceKey, "/api/containers/"+id, &got)
	if i := got.Idle; i == nil || i.StopsAt == nil || !i.StopsAt.Equal(start.Add(10*time.Minute)) || i.Reason != ide.Inactivity || i.Source != "editor" || i.Signal != "agent" ||
		i.Timeout != 600 || i.Warned || got.LastActivity == nil || !got.LastActivity.Equal(start) {
		t.Errorf("got %+v, last activity %v", i, got.LastActivity)
	}

	path := "/api/containers/" + id + "/keepalive"
	for name, tc := range map[string]struct {
		key, body string
		status    int
	}{
		"a viewer":        {viewKey, "", http.StatusForbidden},
		"another's":       {bobKey, "", http.StatusNotFound},
		"too far ahead":   {aliceKey, `{"until":"2100-01-01T00:00:00Z"}`, http.StatusBadRequest},
		"past":            {aliceKey, `{"until":"2020-01-01T00:00:00Z"}`, http.StatusBadRequest},
		"no time":         {aliceKey, `{"until":"tomorrow"}`, http.StatusBadRequest},
		"an unknown name": {aliceKey, `{"till":"2100-01-01T00:00:00Z"}`, http.StatusBadRequest},
	} {
		if w := b.call(tc.key, "POST", path, tc.body); w.Code != tc.status {
			t.Errorf("%s: got %d %s, want %d", name, w.Code, w.Body, tc.status)
		}
	}
	if w := b.call(aliceKey, "POST", path, ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"keepUntil"`) {
		t.Errorf("no body: got %d %s", w.Code, w.Body)
	}
	warned := start.Add(40 * time.Minute)
	b.update(id, func(c *ide.Container) { c.Watch.StopsAt = &warned })
	got = ContainerAnswer{}
	b.get(aliceKey, "/api/containers/"+id, &got)
	if i := got.Idle; !i.Warned || i.KeepUntil == nil || !i.StopsAt.Equal(warned) {
		t.Errorf("warned late: got %+v", i)
	}
	b.update(id, func(c *ide.Container) { c.Status = ide.Stopping })
	if w := b.call(aliceKey, "POST", path, ""); w.Code != http.StatusConflict {
		t.Errorf("of one that stops: got %d", w.Code)
	}
}

func TestSchedulesAreForAdmins(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var list ScheduleList
	b.get(rootKey, "/api/schedules", &list)
	names := map[string]functions.Schedule{}
	for _, s := range list.Schedules {
		names[s.Name] = s
	}
	for _, name := range []string{"idle-sweep", "probe-sweep", "purge-sweep", "unsaved-sweep", "jobs-sweep"} {
		if s := names[name]; s.Cron == "" || s.Doc == "" || s.Next == nil || s.Paused != nil {
			t.Errorf("%s: got %+v", name, s)
		}
	}
	for _, call := range []string{"GET /api/schedules", "GET /api/schedules/idle-sweep", "POST /api/schedules/idle-sweep/run", "POST /api/schedules/idle-sweep/pause", "POST /api/schedules/idle-sweep/resume"} {
		method, path, _ := strings.Cut(call, " ")
		for _, key := range []string{aliceKey, viewKey} {
			want := http.StatusForbidden
			if key == viewKey && method == "GET" {
				want = http.StatusOK
			}
			if w := b.call(key, method, path, ""); w.Code != want {
				t.Errorf("%s: got %d, want %d", call, w.Code, want)
			}
		}
		if w := b.call(rootKey, method, strings.Replace(path, "idle-sweep", "nothing", 1), ""); w.Code != http.StatusNotFound && path != "/api/schedules" {
			t.Errorf("%s of nothing: got %d, want 404", call, w.Code)
		}
	}
	if w := b.call(rootKey, "POST", "/api/schedules/idle-sweep/pause", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"by":"root"`) {
		t.Errorf("pause: got %d %s", w.Code, w.Body)
	}
	w := b.call(rootKey, "POST", "/api/schedules/idle-sweep/run", "")
	if w.Code != http.StatusOK || w.Header().Get("Location") != "/api/jobs/sweep-idle::1" || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"status":"queued"`) {
		t.Errorf("run: got %d %v %s", w.Code, w.Header(), w.Body)
	}
	var one functions.Schedule
	b.get(rootKey, "/api/schedules/idle-sweep", &one)
	if one.Paused == nil || one.LastJob == nil || one.LastJob.ID != "sweep-idle::1" || one.Last != nil {
		t.Errorf("got %+v", one)
	}
	if w := b.call(rootKey, "POST", "/api/schedules/idle-sweep/resume", ""); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "paused") {
		t.Errorf("resume: got %d %s", w.Code, w.Body)
	}
}
