package traces

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// provider of a share of requests, and how often its collector was called.
func provider(t *testing.T, ratio float64) (*Provider, *atomic.Int64) {
	t.Helper()
	var calls atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(srv.Close)
	p, err := New(t.Context(), Config{Endpoint: srv.URL, Service: "berth", Ratio: ratio})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p, &calls
}

func TestWhatIsTraced(t *testing.T) {
	t.Parallel()
	asked := trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true}))
	for name, tc := range map[string]struct {
		ctx   context.Context
		kind  trace.SpanKind
		ratio float64
		want  bool
	}{
		"a request":                     {context.Background(), trace.SpanKindServer, 1, true},
		"a job of a traced request":     {asked, trace.SpanKindConsumer, 1, true},
		"a loop's call of Redis":        {context.Background(), trace.SpanKindClient, 1, false},
		"a request when none is wanted": {context.Background(), trace.SpanKindServer, 0, false},
		"one whose caller wants it":     {asked, trace.SpanKindServer, 0, false},
	} {
		p, _ := provider(t, tc.ratio)
		_, span := p.Tracers().Tracer("test").Start(tc.ctx, "x", trace.WithSpanKind(tc.kind))
		if got := span.IsRecording(); got != tc.want {
			t.Errorf("%s: traced %t, want %t", name, got, tc.want)
		}
		span.End()
	}
}

func TestProbesAreNotTraced(t *testing.T) {
	t.Parallel()
	p, calls := provider(t, 1)
	traced := map[string]bool{}
	h := p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		traced[r.URL.Path] = trace.SpanFromContext(r.Context()).IsRecording()
	}))
	for _, path := range []string{"/readyz", "/metrics", "/api/containers"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	if traced["/readyz"] || traced["/metrics"] || !traced["/api/containers"] {
		t.Errorf("traced are %v", traced)
	}
	if err := p.Close(t.Context()); err != nil || calls.Load() == 0 {
		t.Errorf("what is left at the end is not sent: %v, %d calls", err, calls.Load())
	}
}

func TestNoProviderTracesNothing(t *testing.T) {
	t.Parallel()
	var p *Provider
	h := p.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "as it was") }))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Body.String() != "as it was" || p.Tracers() != nil || p.Redis(nil) != nil || p.Close(t.Context()) != nil {
		t.Error("no provider does something")
	}
}
