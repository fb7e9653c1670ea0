package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/httpapi"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/telemetry"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

type serveCmd struct {
	config.Settings `embed:""`
}

func (*serveCmd) Help() string {
	return `Serves POST /oauth2/token and the public keys until SIGINT or SIGTERM; then exchanges under way finish. A second signal ends it at once.

Examples:

    cambio serve
    cambio serve --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem --issuer https://keys.example.com
    cambio serve --listen 0.0.0.0:8080 --allow-http --issuer https://keys.example.com --trusted-proxies 10.0.0.0/8`
}

func (c *serveCmd) Run(ctx context.Context, p process) error {
	cfg, err := c.Config(p.getenv)
	if err != nil {
		return &usageError{err}
	}
	public, ops, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	log := newLogger(p.stderr, cfg)
	return serve(ctx, cfg, public, ops, log, func(db store.Store, _ string) error {
		return welcome(ctx, p, cfg, db, log)
	})
}

// serve runs a server on two listeners until ctx ends, and closes them. It calls
// ready with the issuer when the store is open, before the first exchange.
//
// The server listens from the start: while the database is away, exchanges are
// told to come back, and /readyz says no.
func serve(ctx context.Context, cfg config.Config, public, ops net.Listener, log *slog.Logger, ready func(db store.Store, iss string) error) error {
	defer closeAll(public, ops)
	traces, log, err := startTraces(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer stopTraces(ctx, traces, log)
	certs, err := tlsConfig(cfg, log)
	if err != nil {
		return err
	}
	authorities, err := clientCAs(cfg, log)
	if err != nil {
		return err
	}
	iss := cfg.IssuerAt(public.Addr())
	told := httpapi.Config{
		Issuer: iss, TrustedProxies: cfg.TrustedProxies, Algorithms: cfg.SigningAlgs, TLS: certs, ClientCAs: authorities,
		FailureLimit: cfg.FailureLimit, MaxConnections: maxConnections(), Version: readVersion(buildInfo()).Version, Log: log,
	}
	if traces != nil {
		told.Tracer = traces
	}
	server, err := httpapi.New(told)
	if err != nil {
		return err
	}
	if cfg.Issuer == "" && !onlyHere(public) {
		log.WarnContext(ctx, "CAMBIO_ISSUER is not set, and tokens say an issuer that was made from the listen address; set it to the URL that clients use")
	}

	running, end := context.WithCancel(ctx)
	defer end()
	busy, idle := context.WithCancel(context.WithoutCancel(ctx)) // until no exchange is in flight any more
	defer idle()
	var failed error
	var supplier sync.WaitGroup
	supplier.Go(func() {
		defer end() // a server that has nothing to give is of no use
		failed = supply(running, busy, cfg, iss, server, log, traces, func(db store.Store) error {
			if err := ready(db, iss); err != nil {
				return err
			}
			log.InfoContext(ctx, "serving", "issuer", iss, "listen", public.Addr().String(), "ops", ops.Addr().String(), "tls", cfg.TLS())
			return nil
		})
	})
	err = server.Run(running, public, ops)
	end()
	idle()
	supplier.Wait()
	if !errors.Is(failed, context.Canceled) { // told to stop while the database was away
		err = errors.Join(err, failed)
	}
	if err == nil {
		log.InfoContext(context.WithoutCancel(ctx), "stopped")
	}
	return err
}

// supply opens the store, gives the server what it needs of it, and keeps count
// of its use while it is busy.
func supply(ctx, busy context.Context, cfg config.Config, iss string, server *httpapi.Server, log *slog.Logger, traces *telemetry.Traces, ready func(store.Store) error) (err error) {
	db, err := openPatiently(ctx, cfg, log, traces)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	counts := usage.NewRecorder(usage.RecorderConfig{Store: db, Retention: cfg.UsageRetention, Log: log})
	keys, err := openKeyring(ctx, cfg, db, log)
	if err != nil {
		return err
	}
	guarded := &gate{Store: db, log: log}
	if err := guarded.begin(ctx); err != nil {
		return err
	}
	census := manage.NewCensus(db, log)
	parts, err := assemble(ctx, cfg, iss, guarded, keys, counts, server.Metrics(), traces)
	if err != nil {
		return err
	}
	parts.JWKS = guarded.jwks(keys.JWKS)
	if err := ready(db); err != nil {
		return err
	}
	refusals := audit.NewRecorder(audit.RecorderConfig{Store: db, Log: log})
	parts.Refusals, parts.Watched.Census = refusals, census
	if err := server.Open(parts); err != nil {
		return err
	}
	var follower sync.WaitGroup
	follower.Go(func() { keys.Run(busy) })
	follower.Go(func() { guarded.Run(busy) })
	follower.Go(func() { manage.Upkeep(busy, db, log) })
	follower.Go(func() { refusals.Run(busy) })
	follower.Go(func() { census.Run(busy) })
	defer follower.Wait()
	counts.Run(busy)
	return nil
}

// openPatiently waits for a database that does not answer, and says so.
func openPatiently(ctx context.Context, cfg config.Config, log *slog.Logger, traces *telemetry.Traces) (store.Store, error) {
	opts := store.Options{AsIs: cfg.NoMigrate}
	if traces != nil {
		opts.Tracer = traces.Postgres()
	}
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		db, err := store.OpenWith(ctx, cfg.Store, opts)
		if !errors.Is(err, store.ErrAway) {
			return db, err
		}
		log.WarnContext(ctx, "waiting for the database", "err", err, "again_in", wait)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// onlyHere reports whether only this machine can reach l.
func onlyHere(l net.Listener) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// assemble joins the parts: verifier, issuer, statuses, usage, exchange, manage.
func assemble(ctx context.Context, cfg config.Config, iss string, db store.Store, keys *issuer.Keyring, counts *usage.Recorder, metrics *httpapi.Metrics, traces *telemetry.Traces) (httpapi.Parts, error) {
	charging := verifier.Config{Store: db, Groups: cfg.Groups, Updated: metrics.Updated}
	if traces != nil {
		charging.Tracer = traces
	}
	verify, err := verifier.New(charging)
	if err != nil {
		return httpapi.Parts{}, err
	}
	issue, err := issuer.New(issuer.Config{Issuer: iss, Keyring: keys, Lifetime: cfg.TokenLifetime, Signed: metrics.Signed})
	if err != nil {
		return httpapi.Parts{}, err
	}
	statuses, err := issuer.OpenStatusLists(ctx, issuer.StatusListsConfig{Issuer: issue, Store: db})
	if err != nil {
		return httpapi.Parts{}, err
	}
	managing := manage.New(db)
	exchanges, err := exchange.New(exchange.Config{
		Clients: db, Keys: db, Verifier: verify, Issuer: issue, Usage: counts,
		Revoke: managing.RevokeFor,
	})
	return httpapi.Parts{
		Exchange: exchanges, Keys: keys, Manage: managing, JWKS: keys.JWKS, Statuses: statuses, Ready: db.Ping,
		Watched: httpapi.Watched{Verifier: verify, Usage: counts, Activity: db.Activity},
	}, err
}

// listen opens both listeners or none.
func listen(ctx context.Context, cfg config.Config) (public, ops net.Listener, err error) {
	if public, err = listenAt(ctx, "CAMBIO_LISTEN", cfg.Listen); err != nil {
		return nil, nil, err
	}
	if ops, err = listenAt(ctx, "CAMBIO_OPS_LISTEN", cfg.OpsListen); err != nil {
		closeAll(public)
		return nil, nil, err
	}
	return public, ops, nil
}

func listenAt(ctx context.Context, setting, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return l, nil
}

func closeAll(all ...io.Closer) {
	for _, c := range all {
		_ = c.Close() // closed already after a good run
	}
}

func newLogger(w io.Writer, cfg config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
