package openapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	scrape := func() string {
		w := b.call(viewKey, "GET", "/metrics", "")
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Fatalf("got %d, %v", w.Code, w.Header())
		}
		return w.Body.String()
	}
	first := b.create(alice, "bucket-1")
	b.create(alice, "bucket-2")
	h, err := b.st.Take(t.Context(), first.Job.ID, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	h.Job.Steps = append(h.Job.Steps, ide.Step{Name: "service", Status: ide.StepDone, Seconds: 0.3}, ide.Step{Name: "task", Status: ide.StepFailed, Seconds: 400})
	if _, err := h.End(t.Context(), ide.JobFailed); err != nil {
		t.Fatal(err)
	}
	if err := b.st.Report(t.Context(), ide.Worker{ID: "w1", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	b.call(aliceKey, "GET", "/api/containers", "")
	b.call(aliceKey, "GET", "/api/containers/none", "")
	b.call(aliceKey, "GET", "/api/"+ide.NewID(), "")
	got := scrape()
	for _, want := range []string{
		`berth_redis_up 1`,
		`berth_build_info{goversion="`,
		`berth_containers{status="starting"} 2`,
		`berth_containers{status="running"} 0`,
		`berth_jobs_open{status="queued"} 1`,
		`berth_jobs_total{function="container-create",status="failed"} 1`,
		`berth_job_seconds_count{function="container-create"} 1`,
		`berth_step_seconds_bucket{function="container-create",step="service",le="0.25"} 0`,
		`berth_step_seconds_bucket{function="container-create",step="service",le="0.5"} 1`,
		`berth_step_seconds_sum{function="container-create",step="service"} 0.3`,
		`berth_step_seconds_bucket{function="container-create",step="task",le="300"} 0`,
		`berth_step_seconds_count{function="container-create",step="task"} 1`,
		`berth_step_seconds_count{function="container-create",step="queue"} 1`,
		`berth_queue_depth{queue="default"} 2`,
		`berth_queue_depth{queue="critical"} 0`,
		`berth_workers 1`,
		`berth_node_reservations{node="n1"} 2`,
		`berth_node_cpu_free_cores{node="n1"} 63.8`,
		`berth_http_request_seconds_count{operation="list-containers",status="2xx"} 1`,
		`berth_http_request_seconds_count{operation="get-container",status="4xx"} 1`,
		`berth_http_request_seconds_count{operation="none",status="4xx"} 1`,
		`go_goroutines`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %s", want)
		}
	}
	b.refused(b.call(aliceKey, "GET", "/metrics", ""), http.StatusForbidden, ide.Forbidden, "/metrics")
	b.refused(b.call("", "GET", "/metrics", ""), http.StatusUnauthorized, ide.AuthenticationFailed, "/metrics")
	for _, secret := range []string{first.Container.ID, "alice", "bucket-1"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is a label: there is one for each", secret)
		}
	}
}

func TestMetricsWithoutRedis(t *testing.T) {
	t.Parallel()
	b := benchWithoutRedis(t)
	w := b.call(rootKey, "GET", "/metrics", "")
	if got := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(got, "berth_redis_up 0") || !strings.Contains(got, "go_goroutines") || strings.Contains(got, "berth_containers{") {
		t.Errorf("got %d %s", w.Code, got)
	}
}
