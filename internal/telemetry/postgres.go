package telemetry

import (
	"context"
	"errors"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/metric/noop"
)

// Postgres makes spans of what PostgreSQL is asked for on behalf of a request that is
// traced: statements as they stand in our source, without arguments, and without the
// texts of errors, which may hold arguments.
func (t *Traces) Postgres() pgx.QueryTracer {
	return postgres{otelpgx.NewTracer(
		otelpgx.WithTracerProvider(t.provider),
		otelpgx.WithMeterProvider(noop.NewMeterProvider()),
		otelpgx.WithDisableConnectionDetailsInAttributes(),
	)}
}

type postgres struct{ *otelpgx.Tracer }

var errDatabase = errors.New("failed")

// bare leaves of err what kind of error it is.
func bare(err error) error {
	var server *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &server):
		return &pgconn.PgError{Severity: server.SeverityUnlocalized, Code: server.Code}
	}
	return errDatabase
}

func (t postgres) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	data.Err = bare(data.Err)
	t.Tracer.TraceQueryEnd(ctx, conn, data)
}

func (t postgres) TraceBatchQuery(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchQueryData) {
	data.Err = bare(data.Err)
	t.Tracer.TraceBatchQuery(ctx, conn, data)
}

func (t postgres) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	data.Err = bare(data.Err)
	t.Tracer.TraceBatchEnd(ctx, conn, data)
}

func (t postgres) TraceCopyFromEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromEndData) {
	data.Err = bare(data.Err)
	t.Tracer.TraceCopyFromEnd(ctx, conn, data)
}

func (t postgres) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) {
	data.Err = bare(data.Err)
	t.Tracer.TraceConnectEnd(ctx, data)
}

func (t postgres) TracePrepareEnd(ctx context.Context, conn *pgx.Conn, data pgx.TracePrepareEndData) {
	data.Err = bare(data.Err)
	t.Tracer.TracePrepareEnd(ctx, conn, data)
}

func (t postgres) TraceAcquireEnd(ctx context.Context, pool *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	data.Err = bare(data.Err)
	t.Tracer.TraceAcquireEnd(ctx, pool, data)
}
