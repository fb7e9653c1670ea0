package telemetry

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/cambio-auth/cambio/verifier"
)

// maxLinks is how many requests of a group its span has links to.
const maxLinks = 128

// Request implements httpapi.Tracer.
func (t *Traces) Request(r *http.Request, endpoint string) (ctx context.Context, id string, end func(status int)) {
	method := knownMethod(r.Method)
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(semconv.HTTPRequestMethodKey.String(method), semconv.HTTPRoute(endpoint)),
	}
	ctx, more := t.parent(r)
	ctx, span := t.tracer.Start(ctx, method+" "+endpoint, append(options, more...)...)
	if of := span.SpanContext(); of.IsSampled() {
		id = of.TraceID().String()
	}
	return ctx, id, func(status int) {
		if status > 0 {
			span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		}
		if status >= http.StatusInternalServerError || status <= 0 {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// parent reads what the caller says it belongs to (W3C Trace Context). What is
// malformed is not there.
func (t *Traces) parent(r *http.Request) (context.Context, []trace.SpanStartOption) {
	told := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	if t.trusting {
		return told, nil
	}
	options := []trace.SpanStartOption{trace.WithNewRoot()}
	if of := trace.SpanContextFromContext(told); of.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: of.WithTraceState(trace.TraceState{})}))
	}
	return r.Context(), options
}

// Charge implements verifier.Tracer.
func (t *Traces) Charge(ctx context.Context) (context.Context, func(error)) {
	ctx, span := t.tracer.Start(ctx, "charge")
	return ctx, func(err error) { finish(span, err) }
}

// Group implements verifier.Tracer. A group of requests of which none is sampled has
// no span.
func (t *Traces) Group(ctx context.Context, callers []context.Context) (context.Context, func(error)) {
	var first trace.Span
	var links []trace.Link
	for _, caller := range callers {
		span := trace.SpanFromContext(caller)
		if !span.SpanContext().IsSampled() {
			continue
		}
		if first == nil {
			first = span
		}
		if len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: span.SpanContext()})
		}
	}
	if first == nil {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(trace.ContextWithSpan(ctx, first), "group", trace.WithLinks(links...),
		trace.WithAttributes(attribute.Int("cambio.group.requests", len(callers))))
	return ctx, func(err error) { finish(span, err) }
}

// finish tells what came of it in a word: the text of an error may hold anything.
func finish(span trace.Span, err error) {
	outcome := verifier.Reason(err)
	switch {
	case err == nil:
		outcome = "ok"
	case outcome != "":
	case errors.Is(err, verifier.ErrOutcomeUnknown):
		outcome = "outcome_unknown"
	case errors.Is(err, context.Canceled):
		outcome = "gone"
	default:
		outcome = "unavailable"
	}
	span.SetAttributes(attribute.String("cambio.outcome", outcome))
	if outcome == "outcome_unknown" || outcome == "unavailable" {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

func knownMethod(method string) string {
	known := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	if slices.Contains(known, method) {
		return method
	}
	return "_OTHER" // semantic conventions, http.request.method
}
