package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/restore"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// gateEvery is how often a server looks where its data is from.
const gateEvery = time.Second

// gate is a store that answers no client while its data counts as restored from a
// backup: nothing is charged, and neither statuses nor signing keys are published that
// may be of the past. Commands use the store itself.
type gate struct {
	store.Store
	witness restore.Witness
	log     *slog.Logger
	closed  atomic.Pointer[error] // nil: it is open
	started atomic.Bool           // statuses were asked for while it was closed
}

// begin is the first look, before anybody is answered. Data that is at home nowhere
// is from now on at home where it is.
func (g *gate) begin(ctx context.Context) error {
	if err := g.Settle(ctx); err != nil {
		return err
	}
	return g.look(ctx)
}

// jwks is set while the gate is open, and empty else.
func (g *gate) jwks(set func() issuer.JWKS) func() issuer.JWKS {
	return func() issuer.JWKS {
		if g.closed.Load() != nil {
			return issuer.JWKS{}
		}
		return set()
	}
}

// look opens or closes the gate. If the store cannot be looked at, it stays as it is.
func (g *gate) look(ctx context.Context) error {
	err := g.witness.Look(ctx, g.Store)
	switch shut := restore.Unconfirmed(err); {
	case shut:
		if g.closed.Swap(&err) == nil {
			g.log.ErrorContext(ctx, "nothing is granted or published any more", "err", err)
		}
		return nil
	case err != nil:
		return err
	}
	if g.closed.Swap(nil) != nil {
		g.log.InfoContext(ctx, "the restored store is confirmed; exchanges are answered")
	}
	return nil
}

// Run looks until ctx ends.
func (g *gate) Run(ctx context.Context) {
	ticks := time.NewTicker(gateEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if err := g.look(ctx); err != nil && ctx.Err() == nil {
			g.log.DebugContext(ctx, "where the data is from is not known now", "err", err) // as /readyz says, the store is away
		}
	}
}

// shut fails while the gate is closed, as if the store did not answer.
func (g *gate) shut() error {
	if err := g.closed.Load(); err != nil {
		return fmt.Errorf("%w: %w", verifier.ErrUnavailable, *err)
	}
	return nil
}

// Ping implements store.Store.
func (g *gate) Ping(ctx context.Context) error {
	if err := g.shut(); err != nil {
		return err
	}
	return g.Store.Ping(ctx)
}

// Update implements verifier.Store.
func (g *gate) Update(ctx context.Context, lookup verifier.Lookup, decide func(now time.Time, found verifier.Found)) error {
	if err := g.shut(); err != nil {
		return err
	}
	return g.Store.Update(ctx, lookup, decide)
}

// Client implements exchange.Clients.
func (g *gate) Client(ctx context.Context, id string) (*client.Client, error) {
	if err := g.shut(); err != nil {
		return nil, err
	}
	return g.Store.Client(ctx, id)
}

// FindKey implements exchange.Keys.
func (g *gate) FindKey(ctx context.Context, id verifier.KeyID) (*verifier.Record, time.Time, error) {
	if err := g.shut(); err != nil {
		return nil, time.Time{}, err
	}
	return g.Store.FindKey(ctx, id)
}

// FindDigest implements exchange.Keys.
func (g *gate) FindDigest(ctx context.Context, digest verifier.Digest) (*verifier.Record, time.Time, error) {
	if err := g.shut(); err != nil {
		return nil, time.Time{}, err
	}
	return g.Store.FindDigest(ctx, digest)
}

// StatusChanges implements issuer.StatusStore. A server that starts while the gate is
// closed begins with no status at all, so that it has none to publish.
func (g *gate) StatusChanges(ctx context.Context, after int64, change func(issuer.StatusChange) error) (int64, time.Time, error) {
	if err := g.shut(); err != nil {
		if after == 0 && !g.started.Swap(true) {
			return 0, time.Now(), nil
		}
		return 0, time.Time{}, err
	}
	return g.Store.StatusChanges(ctx, after, change)
}
