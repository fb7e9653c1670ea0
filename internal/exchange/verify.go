package exchange

import (
	"context"
	"errors"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/verifier"
)

// repeatWindow is how long a charge without a token is known by its idempotency
// key.
const repeatWindow = 24 * time.Hour

// VerifyRequest asks whether a key is good, for who wants no token.
type VerifyRequest struct {
	Key            verifier.Secret
	Keyspace       string               // empty: any of the client's
	Audience       string               // empty: the client's only one, or none if it has none
	Permissions    verifier.Permissions // nil: none is asked for
	Cost           int64                // 0 asks without charging
	IdempotencyKey string               // known for 24 hours; empty, or Cost 0: a request of its own
}

// Verified is what is said of a key.
type Verified struct {
	Grant   verifier.Grant // as beside a refusal, if there is one
	Refusal error          // wraps verifier.ErrRefused; nil: the key is good, and charged
}

// Verify verifies and charges a key as Exchange does, and makes no token. The client
// needs the right keys:verify, and keys:peek to ask without charging. It fails where
// nothing can be said of the key.
func (x *Exchange) Verify(ctx context.Context, c *Caller, req VerifyRequest) (v Verified, err error) {
	if c, err = x.knows(ctx, c, req.Key); err != nil {
		return v, err
	}
	err = x.asItIs(ctx, c, func(c *Caller) error {
		v.Grant, err = x.verifyOnce(ctx, c, req)
		return err
	})
	if errors.Is(err, verifier.ErrRefused) {
		v.Refusal, err = err, nil
	}
	return v, err
}

// MayVerify fails with ErrRight for a client that may not verify at all.
func MayVerify(c *Caller) error {
	if !c.Holds(client.KeysVerify) {
		return ErrRight
	}
	return nil
}

func (x *Exchange) verifyOnce(ctx context.Context, c *Caller, req VerifyRequest) (verifier.Grant, error) {
	peek := req.Cost == 0
	if err := MayVerify(c); err != nil || peek && !c.Holds(client.KeysPeek) {
		return verifier.Grant{}, ErrRight
	}
	if LooksLikeJWT(req.Key.Reveal()) {
		return verifier.Grant{}, verifier.ErrMalformed
	}
	asked := verifier.Request{
		Key:         req.Key,
		Keyspace:    req.Keyspace,
		Permissions: req.Permissions,
		Cost:        req.Cost,
		Peek:        peek,
		NoToken:     true,
		Client:      c.Allowance(),
	}
	if req.Audience != "" {
		asked.Targets = []string{req.Audience}
	}
	if !peek && req.IdempotencyKey != "" {
		asked.Repeat = repeat("verify", req.IdempotencyKey, asked, func(first verifier.Grant) time.Time {
			return first.GrantedAt.Add(repeatWindow)
		})
	}
	return x.verify(ctx, asked)
}
