// Package exchange is the product on one screen: who calls, may this key be
// exchanged, sign what was granted.
package exchange

import (
	"context"
	"errors"
	"fmt"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// Clients finds the program that calls.
type Clients interface {
	// Client returns nil for a client that does not exist. It is never answered
	// from a cache, so a change that has returned is seen by the next exchange.
	Client(ctx context.Context, id string) (*client.Client, error)
}

// ErrClient refuses a caller that is unknown, disabled, or has a wrong secret.
var ErrClient = errors.New("client not authenticated")

// ErrRight refuses a client that may not exchange.
var ErrRight = errors.New("client may not do this")

// Exchange turns keys into tokens.
type Exchange struct {
	clients  Clients
	verifier *verifier.Verifier
	issuer   *issuer.Issuer
}

// New wires the three.
func New(clients Clients, v *verifier.Verifier, i *issuer.Issuer) *Exchange {
	return &Exchange{clients, v, i}
}

// Authenticate returns the client whose secret this is. It fails with
// ErrClient, or with verifier.ErrUnavailable if the store did not answer.
func (x *Exchange) Authenticate(ctx context.Context, id string, secret verifier.Secret) (*client.Client, error) {
	c, err := x.clients.Client(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("looking up client: %w: %w", verifier.ErrUnavailable, err)
	}
	if !c.Authenticate(secret) {
		return nil, ErrClient
	}
	return c, nil
}

// Request is what an authenticated client asks for.
type Request struct {
	Key         verifier.Secret
	Keyspace    string               // empty: any of the client's
	Targets     []string             // audiences and resources, as sent
	Permissions verifier.Permissions // nil: all there is
	Unholdable  bool                 // a scope was asked that names nothing
	Cost        int64                // ≥ 1
}

// Exchange verifies and charges the key, then signs a token for the grant. It
// fails with ErrRight, with what Verify fails with, or with
// issuer.ErrNoSigningKey, which is found out before anything is charged.
func (x *Exchange) Exchange(ctx context.Context, c *client.Client, req Request) (issuer.Token, verifier.Grant, error) {
	if !c.Holds(client.TokensExchange) {
		return issuer.Token{}, verifier.Grant{}, ErrRight
	}
	if err := x.issuer.Ready(); err != nil {
		return issuer.Token{}, verifier.Grant{}, err
	}
	grant, err := x.verifier.Verify(ctx, verifier.Request{
		Key:         req.Key,
		Keyspace:    req.Keyspace,
		Targets:     req.Targets,
		Permissions: req.Permissions,
		Unholdable:  req.Unholdable,
		Cost:        req.Cost,
		Client:      c.Allowance(),
	})
	if err != nil {
		return issuer.Token{}, verifier.Grant{}, err
	}
	token, err := x.issuer.Issue(issuer.Grant{
		Subject:     subject(grant),
		Audience:    grant.Audience,
		ClientID:    c.ID,
		KeyID:       string(grant.KeyID),
		Keyspace:    grant.Keyspace,
		Permissions: grant.Permissions,
		Metadata:    grant.Metadata,
		Lifetime:    grant.TokenLifetime,
		NotAfter:    grant.NotAfter,
		IssuedAt:    grant.GrantedAt,
	})
	return token, grant, err
}

// subject is the key's owner, or the key itself if it has none (RFC 9068 §2.2).
func subject(g verifier.Grant) string {
	if g.Owner != "" {
		return g.Owner
	}
	return string(g.KeyID)
}
