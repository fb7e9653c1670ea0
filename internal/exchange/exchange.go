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

// ErrClient refuses a caller that is unknown, disabled, or has a wrong credential.
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
	Clients Clients
	Keys    Keys

	// Revoke revokes a key for good on behalf of a client, and keeps it in the log. It
	// fails with verifier.ErrClientChanged if the client is another by now.
	Revoke func(ctx context.Context, c *client.Client, id verifier.KeyID) error

	Verifier *verifier.Verifier
	Issuer   *issuer.Issuer
	Usage    *usage.Recorder
	Now      func() time.Time // zero: time.Now
}

// Exchange turns keys into tokens.
type Exchange struct {
	callers  *callers
	keys     Keys
	revoke   func(ctx context.Context, c *client.Client, id verifier.KeyID) error
	verifier *verifier.Verifier
	issuer   *issuer.Issuer
	usage    *usage.Recorder
}

// New fails if something required is missing.
func New(cfg Config) (*Exchange, error) {
	if cfg.Clients == nil || cfg.Keys == nil || cfg.Revoke == nil || cfg.Verifier == nil || cfg.Issuer == nil || cfg.Usage == nil {
		return nil, errors.New("exchange: Config is incomplete")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Exchange{newCallers(cfg.Clients, cfg.Now), cfg.Keys, cfg.Revoke, cfg.Verifier, cfg.Issuer, cfg.Usage}, nil
}

// Authenticate returns the client whose credential this is. It fails with a
// ClientError, or with verifier.ErrUnavailable if the store did not answer.
func (x *Exchange) Authenticate(ctx context.Context, id string, by client.Credential) (*Caller, error) {
	return x.callers.authenticate(ctx, id, by)
}

// AuthenticateFresh is Authenticate against what is stored now: for calls that do
// not hold the client against its stored version in a transaction of their own.
func (x *Exchange) AuthenticateFresh(ctx context.Context, id string, by client.Credential) (*Caller, error) {
	return x.callers.reread(ctx, id, by)
}

// Request is what an authenticated client asks for.
type Request struct {
	Key         verifier.Secret
	Keyspace    string               // empty: any of the client's
	Targets     []string             // audiences and resources, as sent
	Permissions verifier.Permissions // nil: all there is
	Unholdable  bool                 // something was asked that no key can hold
	Cost        int64                // ≥ 1

	// IdempotencyKey makes the request one that may be sent again for as long as its
	// token lives: it is charged once, and its repeats get the same claims, signed
	// anew. Empty: a request of its own.
	IdempotencyKey string
}

// Exchange verifies and charges the key, then signs a token for the grant. It
// fails with ErrRight, with what Verify of the verifier fails with, or with
// issuer.ErrNoSigningKey, which is found out before anything is charged. A
// client that changed since it was authenticated is held against what it is now.
func (x *Exchange) Exchange(ctx context.Context, c *Caller, req Request) (token issuer.Token, grant verifier.Grant, err error) {
	if c, err = x.knows(ctx, c, req.Key); err != nil {
		return issuer.Token{}, verifier.Grant{}, err
	}
	err = x.asItIs(ctx, c, func(c *Caller) error {
		token, grant, err = x.once(ctx, c, req)
		return err
	})
	return token, grant, err
}

// knows returns the client as it is now, where that decides whether a key is looked
// up at all: a key of another form than ours is refused without the transaction that
// would confirm its client, unless the client may use imported keys.
func (x *Exchange) knows(ctx context.Context, c *Caller, key verifier.Secret) (*Caller, error) {
	text := key.Reveal()
	if c.ImportedKeys || text == "" || len(text) > verifier.MaxKey || LooksLikeJWT(text) || verifier.WellFormed(key) {
		return c, nil
	}
	return x.callers.confirm(ctx, c)
}

// asItIs calls do again, with the client as it is now, if it changed meanwhile.
func (x *Exchange) asItIs(ctx context.Context, c *Caller, do func(*Caller) error) error {
	const tries = 3 // a client that changes faster is not served
	for range tries {
		err := do(c)
		if !errors.Is(err, verifier.ErrClientChanged) {
			return err
		}
		if c, err = x.callers.reread(ctx, c.ID, c.by); err != nil {
			return err
		}
	}
	return verifier.ErrUnavailable
}

func (x *Exchange) once(ctx context.Context, c *Caller, req Request) (issuer.Token, verifier.Grant, error) {
	if !c.Holds(client.TokensExchange) {
		return issuer.Token{}, verifier.Grant{}, ErrRight
	}
	if err := x.issuer.Ready(c.Algorithm); err != nil {
		return issuer.Token{}, verifier.Grant{}, err
	}
	asked := verifier.Request{
		Key:         req.Key,
		Keyspace:    req.Keyspace,
		Targets:     req.Targets,
		Permissions: req.Permissions,
		Unholdable:  req.Unholdable,
		Cost:        req.Cost,
		Client:      c.Allowance(),
	}
	if req.IdempotencyKey != "" {
		asked.Repeat = repeat("exchange", req.IdempotencyKey, asked, func(first verifier.Grant) time.Time {
			return x.issuer.Expires(c.grant(first))
		})
	}
	grant, err := x.verify(ctx, asked)
	if err != nil {
		return issuer.Token{}, grant, err
	}
	token, err := x.issuer.Issue(c.grant(grant))
	if errors.Is(err, issuer.ErrExpired) { // a lifetime was cut since: only a new request helps
		err = verifier.ErrRepeat
	}
	return token, grant, err
}

// verify keeps count of refusals.
func (x *Exchange) verify(ctx context.Context, req verifier.Request) (verifier.Grant, error) {
	grant, err := x.verifier.Verify(ctx, req)
	if err != nil {
		x.count(req, grant, err)
	}
	return grant, err
}

// grant is what a token says for c.
func (c *Caller) grant(g verifier.Grant) issuer.Grant {
	return issuer.Grant{
		Subject:     subject(g.Owner, g.KeyID),
		Audience:    g.Audience,
		ClientID:    c.ID,
		KeyID:       string(g.KeyID),
		Keyspace:    g.Keyspace,
		Permissions: g.Permissions,
		Metadata:    g.Metadata,
		Lifetime:    g.TokenLifetime,
		NotAfter:    g.NotAfter,
		IssuedAt:    g.GrantedAt,
		SignedAt:    g.DecidedAt,
		ID:          g.TokenID,
		Algorithm:   c.Algorithm,
		Status:      issuer.StatusRef(g.Status),
	}
}

// subject is the key's owner, or the key itself if it has none (RFC 9068 §2.2).
func subject(owner string, id verifier.KeyID) string {
	return cmp.Or(owner, string(id))
}

// count keeps count of a refusal of a known key. What was asked is counted only
// if the client may ask for it, so that counts stay few.
func (x *Exchange) count(req verifier.Request, about verifier.Grant, refusal error) {
	if about.KeyID == "" || !errors.Is(refusal, verifier.ErrRefused) {
		return
	}
	n := usage.Count{Key: about.KeyID, Client: req.Client.ID, Outcome: verifier.Reason(refusal)}
	asked := req.Targets
	if len(asked) == 0 {
		asked = req.Client.Audiences
	}
	if len(asked) == 1 && slices.Contains(req.Client.Audiences, asked[0]) {
		n.Audience = asked[0]
	}
	x.usage.Refused(n)
}
