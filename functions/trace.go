package functions

import (
	"context"

	"berth/internal/ide"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceHeader is the key of a trace context (W3C Trace Context, section 3.2).
const traceHeader = "traceparent"

// traceOf is the trace context that a job keeps; empty where there is none.
//
// It stands in the job's record and not in a header of its task: the delivery
// that a worker works on may have been made by another job's end, or by a
// ticker.
func traceOf(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceHeader]
}

// traced goes on with a job's trace in an attempt of it. end is told what the
// attempt came to.
func (d *Deps) traced(ctx context.Context, j ide.Job) (_ context.Context, end func(error)) {
	if d.Traces == nil || j.Trace == "" {
		return ctx, func(error) {}
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceHeader: j.Trace})
	ctx, span := d.Traces.Tracer("berth").Start(ctx, j.Function, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("berth.job", j.ID), attribute.String("berth.container", j.Container), attribute.Int("berth.attempt", j.Attempt)))
	return ctx, endOf(span)
}

// stepSpan is the part of a trace that one step is.
func stepSpan(ctx context.Context, name string) (context.Context, func(error)) {
	ctx, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("berth").Start(ctx, name)
	return ctx, endOf(span)
}

// endOf shows of an error what a job shows of it.
func endOf(span trace.Span) func(error) {
	return func(err error) {
		if err != nil {
			e := ide.AsError(err)
			span.SetStatus(codes.Error, string(e.Code)+": "+e.Message)
		}
		span.End()
	}
}
