package main

import (
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/internal/ide"
	"berth/internal/swarm/swarmtest"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver is an OpenTelemetry collector (OTLP/HTTP, protobuf).
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	got  []*spans.Span
	text strings.Builder // of all that came
	auth []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body io.Reader = req.Body
		if req.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(req.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		var m collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(data, &m); err != nil || req.URL.Path != "/v1/traces" {
			t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.auth = append(r.auth, req.Header.Get("X-Token"))
		r.text.Write(data)
		for _, rs := range m.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				r.got = append(r.got, ss.Spans...)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// TestOneTrace follows a start from the request through the queue to the
// engine.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	to, engine := newReceiver(t), swarmtest.NewServer(t)
	p := launch(t, "up", settings(t, "DATA_DIR="+shortDir(t), "S3_ENDPOINT=none", "WORKER_GRACE=1s", "DOCKER_HOST="+engine.Host(),
		"OTEL_EXPORTER_OTLP_ENDPOINT="+to.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-token=collector-secret")...)
	address := p.address()
	until(t, "health is ok", func() bool {
		status, _ := get(t, address, "", "/api/health")
		return status == http.StatusOK
	})
	var started struct{ Job struct{ ID, Trace string } }
	if status := ask(t, testKey, http.MethodPost, "http://"+address+"/api/containers/start", `{"s3Bucket":"traced-bucket"}`, &started); status != http.StatusAccepted {
		t.Fatalf("start: got %d", status)
	}
	until(t, "the task runs", func() bool {
		_, body := get(t, address, "", "/api/jobs/"+started.Job.ID)
		var j ide.Job
		return json.Unmarshal([]byte(body), &j) == nil && len(j.Steps) > 4
	})
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	if len(to.auth) == 0 || to.auth[0] != "collector-secret" {
		t.Errorf("the collector's header is %q", to.auth)
	}
	parts := strings.Split(started.Job.Trace, "-")
	if len(parts) != 4 {
		t.Fatalf("the job's trace is %q", started.Job.Trace)
	}
	names, parents, known := []string{}, map[string]string{}, map[string]string{}
	for _, s := range to.got {
		known[string(s.SpanId)] = s.Name
		if len(s.ParentSpanId) == 0 && s.Kind == spans.Span_SPAN_KIND_CLIENT {
			t.Errorf("the call %s belongs to nothing", s.Name)
		}
	}
	for _, s := range to.got {
		if hex.EncodeToString(s.TraceId) == parts[1] {
			names = append(names, s.Name)
			parents[s.Name] = known[string(s.ParentSpanId)]
		}
	}
	// request -> job -> step -> call to the engine
	for name, parent := range map[string]string{"container-create": "", "config": "container-create", "secret": "container-create", "service": "container-create", "task": "container-create"} {
		if name != "container-create" && parents[name] != parent || !slices.Contains(names, name) {
			t.Errorf("%s is below %q, want %q; there are %q", name, parents[name], parent, names)
		}
	}
	call := slices.IndexFunc(names, func(n string) bool { return strings.Contains(n, "/services/create") })
	if call < 0 || parents[names[call]] != "service" {
		t.Errorf("the call to the engine is not below its step: %q", names)
	}
	if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "evalsha") || n == "eval" }) {
		t.Errorf("no call to Redis is in the trace: %q", names)
	}
	for _, secret := range []string{testKey, testSecret, "traced-bucket", "collector-secret"} {
		if strings.Contains(to.text.String(), secret) {
			t.Errorf("%s is in the traces", secret)
		}
	}
}
