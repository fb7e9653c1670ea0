// Package telemetry sends traces to a collector, by OTLP over HTTP. It decides what a
// span is and what it may say; what is worth a span is known to those who call. Nothing
// here is in use unless an endpoint is configured.
//
// A request is a span; what it waits for in the ledger is another; the group that it is
// charged in is a third, a child of the first request in the group, with links to all,
// and what PostgreSQL is asked for hangs below. A span says routes, statuses, outcomes
// and SQL as it stands in our source: never a key, a token, a secret, an argument of a
// statement, an id, an address or a path as sent.
//
// # Why a caller's traceparent is a link
//
// The endpoint is public. Whoever calls could choose trace ids that are in use, fill
// somebody's trace with spans, or have everything sampled that it sends. So a request
// begins a trace of its own, and has a link to the one it says it belongs to. Behind a
// gateway that sets the header itself, Config.TrustParent makes it the parent.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
)

// stopTimeout is for sending what is left at the end.
const stopTimeout = 5 * time.Second

// Config starts Traces.
type Config struct {
	URL         string // required: where spans are posted
	Version     string // of the program
	TrustParent bool   // a caller's traceparent is the parent of its request
	Log         *slog.Logger
}

// Traces sends spans in the background, some seconds late; when it cannot, or too many
// wait, they are dropped, and nobody waits for them.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	trusting bool
}

// Start begins to send. What OTEL_EXPORTER_OTLP_HEADERS and its like, OTEL_TRACES_SAMPLER,
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say in the environment holds. It makes
// the log the process's place for errors of OpenTelemetry.
func Start(ctx context.Context, cfg Config) (*Traces, error) {
	if cfg.URL == "" || cfg.Log == nil {
		return nil, errors.New("telemetry: Config.URL and Config.Log are required")
	}
	otel.SetErrorHandler(&complaints{log: cfg.Log})
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(cfg.URL))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("cambio"), semconv.ServiceVersion(cfg.Version), semconv.ServiceInstanceID(uuid.NewString())),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Traces{provider, provider.Tracer("github.com/cambio-auth/cambio"), cfg.TrustParent}, nil
}

// Stop sends what is left, for at most five seconds.
func (t *Traces) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("sending the last traces: %w", err)
	}
	return nil
}

// complaints tells what went wrong with sending, once a minute at most.
type complaints struct {
	log  *slog.Logger
	last atomic.Int64 // seconds since 1970
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	now := time.Now().Unix()
	if last := c.last.Load(); now-last >= 60 && c.last.CompareAndSwap(last, now) {
		c.log.Warn("traces are not sent", "err", err)
	}
}

// Logs adds trace_id to what is logged for a request that is traced.
func Logs(next slog.Handler) slog.Handler { return logs{next} }

type logs struct{ slog.Handler }

// Handle implements slog.Handler.
func (l logs) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()))
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs and WithGroup keep adding it.
func (l logs) WithAttrs(attrs []slog.Attr) slog.Handler { return logs{l.Handler.WithAttrs(attrs)} }
func (l logs) WithGroup(name string) slog.Handler       { return logs{l.Handler.WithGroup(name)} }
