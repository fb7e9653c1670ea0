package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/cambio-auth/cambio/sdk"
)

// demoBackend is what a backend does: it makes a Client and guards a handler.
func demoBackend(d demo, s secrets) (http.Handler, error) {
	client, err := sdk.NewClient(sdk.ClientConfig{
		Issuer:       d.Issuer,
		ClientID:     d.ClientID,
		ClientSecret: sdk.NewSecret(s.client.Reveal()),
		Audience:     d.Audience,
		Checker:      sdk.CheckerConfig{Leeway: -1}, // one machine, one clock
	})
	if err != nil {
		return nil, err
	}
	projects := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := sdk.FromContext(r.Context())
		_, _ = fmt.Fprintf(w, "Hello %s, this is what you asked for. Your token is good until %s.\n",
			token.Subject(), token.ExpiresAt().Format(time.TimeOnly))
	})
	mux := http.NewServeMux()
	mux.Handle("GET /projects", sdk.Require(client, "projects", "read")(projects))
	return mux, nil
}

// serveBackend returns when ctx ends and requests under way have finished.
func serveBackend(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(bound)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.ErrorContext(ctx, "the demo backend failed", "err", err)
		return
	}
	<-stopped
}
