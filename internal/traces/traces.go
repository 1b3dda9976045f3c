// Package traces sends traces to an OpenTelemetry collector, by OTLP over
// HTTP. A trace is what one request of the API leads to: its handler, its calls
// to Redis, the job's attempts and steps, and their calls to the engine.
package traces

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config of a Provider.
type Config struct {
	Endpoint string            // URL of the collector; /v1/traces is added
	Headers  map[string]string // of every call to it
	Service  string            // name that traces are found by
	Role     string            // api, worker …
	Version  string
	Ratio    float64 // of requests that are traced, 0 to 1
}

// Provider makes spans and sends them. A nil Provider makes none.
type Provider struct{ *sdk.TracerProvider }

// New returns a Provider; it does not connect. Spans that cannot be sent are
// dropped.
func New(ctx context.Context, cfg Config) (*Provider, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimSuffix(cfg.Endpoint, "/")+"/v1/traces"), otlptracehttp.WithHeaders(cfg.Headers))
	if err != nil {
		return nil, fmt.Errorf("set up traces: %w", err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", cfg.Service), attribute.String("service.version", cfg.Version), attribute.String("berth.role", cfg.Role))
	some := beginnings{sdk.TraceIDRatioBased(cfg.Ratio)}
	return &Provider{sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about),
		// A caller's word that a request is traced is not taken: the ratio is the operator's. It is of the trace's ID, so
		// that all processes decide alike.
		sdk.WithSampler(sdk.ParentBased(some, sdk.WithRemoteParentSampled(some))))}, nil
}

// beginnings samples what may begin a trace: requests and jobs. The calls that
// loops make to Redis and the engine all day belong to none.
type beginnings struct{ sdk.Sampler }

// ShouldSample implements sdk.Sampler.
func (b beginnings) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if p.Kind == trace.SpanKindClient && !trace.SpanContextFromContext(p.ParentContext).IsValid() {
		return sdk.SamplingResult{Decision: sdk.Drop}
	}
	return b.Sampler.ShouldSample(p)
}

// untraced are the paths of those who only look whether we live.
var untraced = []string{"/livez", "/readyz", "/metrics", "/api/health"}

// Handler traces requests. The names of their spans are the API's to set.
func (p *Provider) Handler(next http.Handler) http.Handler {
	if p == nil {
		return next
	}
	return otelhttp.NewHandler(next, "request", otelhttp.WithTracerProvider(p), otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithFilter(func(r *http.Request) bool { return !slices.Contains(untraced, r.URL.Path) }))
}

// Redis traces the calls of a client, without their arguments: those may be
// secret.
func (p *Provider) Redis(client redis.UniversalClient) error {
	if p == nil {
		return nil
	}
	return redisotel.InstrumentTracing(client, redisotel.WithTracerProvider(p), redisotel.WithDBStatement(false), redisotel.WithCallerEnabled(false))
}

// Tracers is what others make spans with; nil without a Provider.
func (p *Provider) Tracers() trace.TracerProvider {
	if p == nil {
		return nil
	}
	return p
}

// Close sends what is left.
func (p *Provider) Close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	return p.Shutdown(ctx)
}
