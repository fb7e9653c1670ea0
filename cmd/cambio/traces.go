package main

import (
	"context"
	"log/slog"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/telemetry"
)

// startTraces returns nil where none are to be sent, and the log, which otherwise has
// the trace in each line that is about one.
func startTraces(ctx context.Context, cfg config.Config, log *slog.Logger) (*telemetry.Traces, *slog.Logger, error) {
	if cfg.TracesURL == "" {
		return nil, log, nil
	}
	log = slog.New(telemetry.Logs(log.Handler()))
	traces, err := telemetry.Start(ctx, telemetry.Config{
		URL: cfg.TracesURL, Version: readVersion(buildInfo()).Version, TrustParent: cfg.TrustTraces, Log: log,
	})
	return traces, log, err
}

// stopTraces sends the last ones. That they cannot be sent is no failure of the server.
func stopTraces(ctx context.Context, traces *telemetry.Traces, log *slog.Logger) {
	if traces == nil {
		return
	}
	if err := traces.Stop(ctx); err != nil {
		log.WarnContext(ctx, "traces are lost", "err", err)
	}
}
