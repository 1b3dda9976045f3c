package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

// show renders a view.
func show(t *testing.T, v View, err error) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	look := func(context.Context) (View, error) { return v, err }
	Handler(look).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/dashboard", nil))
	return w
}

func TestPage(t *testing.T) {
	t.Parallel()
	now := time.Now()
	begun, ended := now.Add(-time.Minute), now.Add(-30*time.Second)
	w := show(t, View{
		Status: "degraded", Version: "v9", Durability: "aof", Isolation: "off", Total: 217,
		Checks: []Check{{Name: "redis", OK: true}, {Name: "workers", Message: "No worker tells."}},
		Containers: []ide.Container{
			{ID: "k3xqh5zt2mwfa", Status: ide.Running, Owner: "alice", S3: ide.Bucket{Name: "workspace"}, CreatedAt: now.Add(-3 * time.Hour),
				URLs: ide.MakeURLs("https", "k3xqh5zt2mwfa", "ide.test")},
			{ID: "a2b3c4d5e6f7g", Status: ide.Stopped, ShutdownReason: ide.Inactivity, URLs: ide.MakeURLs("https", "a2b3c4d5e6f7g", "ide.test"), CreatedAt: now},
		},
		Jobs: []ide.Job{
			{Function: "container-create", Status: ide.JobRunning, Attempt: 2, MaxAttempts: 12, QueuedAt: begun, Steps: []ide.Step{{Name: "queue"}, {Name: "agent"}}},
			{Function: "container-stop", Status: ide.JobFailed, QueuedAt: begun, StartedAt: &begun, FinishedAt: &ended, Error: &ide.Error{Message: "Its node is away."}},
		},
	}, nil)
	page := w.Body.String()
	if h := w.Header(); w.Code != http.StatusOK || h.Get("Refresh") == "" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("got %d, %v", w.Code, h)
	}
	for _, want := range []string{"degraded", "v9", "aof", "217", "No worker tells.", "k3xqh5zt2mwfa", "alice", "workspace", "3 h",
		`href="https://k3xqh5zt2mwfa-code.ide.test"`, `href="https://k3xqh5zt2mwfa-vnc.ide.test"`, "inactivity", "2 of 12", "agent", "30s", "Its node is away."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, `href="https://a2b3c4d5e6f7g`) {
		t.Error("a stopped container has links")
	}
}

func TestNothingOfAUsersIsMarkup(t *testing.T) {
	t.Parallel()
	const bad = `"'><script>alert(1)</script><img src=x onerror=alert(1)>`
	page := show(t, View{
		Status: bad, Version: bad, Durability: bad, Isolation: bad, Checks: []Check{{Name: bad, Message: bad}},
		Containers: []ide.Container{{ID: bad, Status: ide.Running, Owner: bad, S3: ide.Bucket{Name: bad}, Error: &ide.Error{Message: bad}, Labels: map[string]string{bad: bad},
			URLs: ide.URLs{Code: "javascript:alert(1)", VNC: bad, WebServer: "data:text/html,<script>"}}, {Status: ide.Status(bad), ShutdownReason: ide.ShutdownReason(bad)}},
		Jobs: []ide.Job{{Function: bad, Container: bad, Status: ide.JobStatus(bad), Steps: []ide.Step{{Name: bad}}, Error: &ide.Error{Message: bad}}},
	}, nil).Body.String()
	for _, markup := range []string{"<script", "<img", `"javascript:`, `"data:`} {
		if strings.Contains(page, markup) {
			t.Errorf("%s stands in the page:\n%s", markup, page)
		}
	}
	if n := strings.Count(page, "&lt;script&gt;"); n < 12 {
		t.Errorf("it shows %d times, want everywhere as text", n)
	}
}

func TestEmptyPage(t *testing.T) {
	t.Parallel()
	page := show(t, View{Status: "ok"}, nil).Body.String()
	for _, want := range []string{"No containers yet", "No jobs yet"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestPageWithoutRedis(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		ide.Transient(ide.QueueUnavailable, errors.New("dial 192.0.2.1"), "The queue does not answer."): "The queue does not answer.",
		errors.New("dial 192.0.2.1"): "Something went wrong on our side.",
	} {
		w := show(t, View{Status: "ok", Total: 3}, err)
		if page := w.Body.String(); w.Code != http.StatusServiceUnavailable || !strings.Contains(page, want) || !strings.Contains(page, "down") || strings.Contains(page, "192.0.2.1") {
			t.Errorf("got %d %s, want 503 and %q", w.Code, page, want)
		}
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 59*time.Minute + 59*time.Second: "59 min", time.Hour: "1 h", 47 * time.Hour: "47 h",
		48 * time.Hour: "2 d", 1000 * time.Hour: "41 d",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
}
