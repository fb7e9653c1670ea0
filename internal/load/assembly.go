package load

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/httpapi"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// assembly is a server, and its issuer.
type assembly struct {
	server *httpapi.Server
	issuer *issuer.Issuer
}

// assemble is what cambio serve does, with a log that is written and goes
// nowhere.
func assemble(ctx context.Context, cfg ServerConfig, db store.Store, iss string, algs ...string) (assembly, error) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return assembly{}, err
	}
	log := slog.New(slog.NewTextHandler(nowhere, nil))
	master, err := issuer.ParseMasterKey(cfg.Master)
	if err != nil {
		return assembly{}, err
	}
	ring, err := issuer.OpenKeyring(ctx, issuer.KeyringConfig{Store: db, MasterKey: master, Algorithms: algs})
	if err != nil {
		return assembly{}, err
	}
	verify, err := verifier.New(verifier.Config{Store: db, Group: cfg.Group, Groups: cfg.Groups})
	if err != nil {
		return assembly{}, err
	}
	issue, err := issuer.New(issuer.Config{Issuer: iss, Keyring: ring})
	if err != nil {
		return assembly{}, err
	}
	statuses, err := issuer.OpenStatusLists(ctx, issuer.StatusListsConfig{Issuer: issue, Store: db})
	if err != nil {
		return assembly{}, err
	}
	counts := usage.NewRecorder(usage.RecorderConfig{Store: db, Log: log})
	exchanges, err := exchange.New(exchange.Config{
		Clients: db, Keys: db, Revoke: manage.New(db).RevokeFor, Verifier: verify, Issuer: issue, Usage: counts,
	})
	if err != nil {
		return assembly{}, err
	}
	server, err := httpapi.New(httpapi.Config{Issuer: iss, Log: log})
	if err != nil {
		return assembly{}, err
	}
	return assembly{server, issue}, server.Open(httpapi.Parts{Exchange: exchanges, JWKS: ring.JWKS, Statuses: statuses})
}

// run serves until ctx ends.
func (a assembly) run(ctx context.Context, public net.Listener) error {
	ops, err := listen(ctx)
	if err != nil {
		return errors.Join(err, public.Close())
	}
	return a.server.Run(ctx, public, ops)
}
