package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/httpapi"
	"github.com/cambio-auth/cambio/internal/store"
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
// ready with the issuer when all is open, before the first request.
func serve(ctx context.Context, cfg config.Config, public, ops net.Listener, log *slog.Logger, ready func(db store.Store, iss string) error) (err error) {
	defer closeAll(public, ops)
	db, err := store.Open(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	iss := cfg.IssuerAt(public.Addr())
	counts := usage.NewRecorder(usage.RecorderConfig{Store: db, Log: log})
	server, err := assemble(ctx, cfg, iss, db, counts, log)
	if err != nil {
		return err
	}
	if err := ready(db, iss); err != nil {
		return err
	}
	log.InfoContext(ctx, "serving", "issuer", iss, "listen", public.Addr().String(), "ops", ops.Addr().String(), "tls", cfg.TLS())
	if cfg.Issuer == "" && !onlyHere(public) {
		log.WarnContext(ctx, "CAMBIO_ISSUER is not set, and tokens say an issuer that was made from the listen address; set it to the URL that clients use")
	}
	if err := runWith(ctx, counts, func() error { return server.Run(ctx, public, ops) }); err != nil {
		return err
	}
	log.InfoContext(context.WithoutCancel(ctx), "stopped")
	return nil
}

// runWith runs a server beside its workers. They stop after it, so that the last
// exchanges are counted too.
func runWith(ctx context.Context, counts *usage.Recorder, run func() error) error {
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	var workers sync.WaitGroup
	workers.Go(func() { counts.Run(bg) })
	err := run()
	stop()
	workers.Wait()
	return err
}

// onlyHere reports whether only this machine can reach l.
func onlyHere(l net.Listener) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// assemble joins the parts: store, keyring, verifier, issuer, usage, exchange,
// HTTP.
func assemble(ctx context.Context, cfg config.Config, iss string, db store.Store, counts *usage.Recorder, log *slog.Logger) (*httpapi.Server, error) {
	certs, err := tlsConfig(cfg, log)
	if err != nil {
		return nil, err
	}
	keys, err := openKeyring(ctx, cfg, db, log)
	if err != nil {
		return nil, err
	}
	verify, err := verifier.New(verifier.Config{Store: db})
	if err != nil {
		return nil, err
	}
	issue, err := issuer.New(issuer.Config{Issuer: iss, Keyring: keys, Lifetime: cfg.TokenLifetime})
	if err != nil {
		return nil, err
	}
	exchanges, err := exchange.New(exchange.Config{Clients: db, Verifier: verify, Issuer: issue, Usage: counts})
	if err != nil {
		return nil, err
	}
	return httpapi.New(httpapi.Config{
		Issuer:         iss,
		Exchange:       exchanges,
		JWKS:           keys.JWKS,
		Ready:          db.Ping,
		TrustedProxies: cfg.TrustedProxies,
		TLS:            certs,
		Log:            log,
	})
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
