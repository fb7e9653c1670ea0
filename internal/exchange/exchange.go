// Package exchange is the product on one screen: who calls, may this key be
// exchanged, sign what was granted, keep count of what was not.
package exchange

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/usage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// Clients finds the program that calls.
type Clients interface {
	// Client returns nil for a client that does not exist.
	Client(ctx context.Context, id string) (*client.Client, error)
}

// ErrClient refuses a caller that is unknown, disabled, or has a wrong secret.
var ErrClient = errors.New("client not authenticated")

// ClientError wraps ErrClient. Known is the id, for our own log, if there is such
// a client: what a caller says of itself may as well be a secret.
type ClientError struct{ Known string }

func (*ClientError) Error() string { return ErrClient.Error() }
func (*ClientError) Unwrap() error { return ErrClient }

// ErrRight refuses a client that may not exchange.
var ErrRight = errors.New("client may not do this")

// Config makes an Exchange. All fields but Now are required.
type Config struct {
	Clients  Clients
	Keys     Keys
	Verifier *verifier.Verifier
	Issuer   *issuer.Issuer
	Usage    *usage.Recorder
	Now      func() time.Time // zero: time.Now
}

// Exchange turns keys into tokens.
type Exchange struct {
	callers  *callers
	keys     Keys
	verifier *verifier.Verifier
	issuer   *issuer.Issuer
	usage    *usage.Recorder
}

// New fails if something required is missing.
func New(cfg Config) (*Exchange, error) {
	if cfg.Clients == nil || cfg.Keys == nil || cfg.Verifier == nil || cfg.Issuer == nil || cfg.Usage == nil {
		return nil, errors.New("exchange: Config is incomplete")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Exchange{newCallers(cfg.Clients, cfg.Now), cfg.Keys, cfg.Verifier, cfg.Issuer, cfg.Usage}, nil
}

// Authenticate returns the client whose secret this is. It fails with a
// ClientError, or with verifier.ErrUnavailable if the store did not answer.
func (x *Exchange) Authenticate(ctx context.Context, id string, secret verifier.Secret) (*Caller, error) {
	return x.callers.authenticate(ctx, id, secret)
}

// Request is what an authenticated client asks for.
type Request struct {
	Key         verifier.Secret
	Keyspace    string               // empty: any of the client's
	Targets     []string             // audiences and resources, as sent
	Permissions verifier.Permissions // nil: all there is
	Unholdable  bool                 // something was asked that no key can hold
	Cost        int64                // ≥ 1
}

// Exchange verifies and charges the key, then signs a token for the grant. It
// fails with ErrRight, with what Verify fails with, or with
// issuer.ErrNoSigningKey, which is found out before anything is charged. A
// client that changed since it was authenticated is held against what it is now.
func (x *Exchange) Exchange(ctx context.Context, c *Caller, req Request) (issuer.Token, verifier.Grant, error) {
	const tries = 3 // a client that changes faster is not served
	for range tries {
		token, grant, err := x.once(ctx, c, req)
		if !errors.Is(err, verifier.ErrClientChanged) {
			return token, grant, err
		}
		if c, err = x.callers.reread(ctx, c.ID, c.secret); err != nil {
			return issuer.Token{}, verifier.Grant{}, err
		}
	}
	return issuer.Token{}, verifier.Grant{}, verifier.ErrUnavailable
}

func (x *Exchange) once(ctx context.Context, c *Caller, req Request) (issuer.Token, verifier.Grant, error) {
	if !c.Holds(client.TokensExchange) {
		return issuer.Token{}, verifier.Grant{}, ErrRight
	}
	if err := x.issuer.Ready(c.Algorithm); err != nil {
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
		x.count(c, req, grant, err)
		return issuer.Token{}, grant, err
	}
	token, err := x.issuer.Issue(issuer.Grant{
		Subject:     subject(grant.Owner, grant.KeyID),
		Audience:    grant.Audience,
		ClientID:    c.ID,
		KeyID:       string(grant.KeyID),
		Keyspace:    grant.Keyspace,
		Permissions: grant.Permissions,
		Metadata:    grant.Metadata,
		Lifetime:    grant.TokenLifetime,
		NotAfter:    grant.NotAfter,
		IssuedAt:    grant.GrantedAt,
		Algorithm:   c.Algorithm,
		Status:      issuer.StatusRef(grant.Status),
	})
	return token, grant, err
}

// subject is the key's owner, or the key itself if it has none (RFC 9068 §2.2).
func subject(owner string, id verifier.KeyID) string {
	return cmp.Or(owner, string(id))
}

// count keeps count of a refusal of a known key. What was asked is counted only
// if the client may ask for it, so that counts stay few.
func (x *Exchange) count(c *Caller, req Request, about verifier.Grant, refusal error) {
	if about.KeyID == "" || !errors.Is(refusal, verifier.ErrRefused) {
		return
	}
	n := usage.Count{Key: about.KeyID, Client: c.ID, Outcome: verifier.Reason(refusal)}
	asked := req.Targets
	if len(asked) == 0 {
		asked = c.Audiences
	}
	if len(asked) == 1 && slices.Contains(c.Audiences, asked[0]) {
		n.Audience = asked[0]
	}
	x.usage.Refused(n)
}
