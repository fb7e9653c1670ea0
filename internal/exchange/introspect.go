package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// ErrTokenType is returned where a token of ours is to be revoked: it is called
// back with its key, or by voiding what the key was exchanged for (RFC 7009
// §2.2.1).
var ErrTokenType = errors.New("only API keys can be revoked here")

// Keys are looked at here without a lock and without a charge.
type Keys interface {
	// FindKey and FindDigest return nil for a key that does not exist, and the
	// database's clock.
	FindKey(ctx context.Context, id verifier.KeyID) (*verifier.Record, time.Time, error)
	FindDigest(ctx context.Context, digest verifier.Digest) (*verifier.Record, time.Time, error)
}

// Introspection is what an authenticated client may know of a token or an API key
// (RFC 7662 §2.2). Of one that is not active it is told nothing else.
type Introspection struct {
	Active      bool
	Kind        string // "token" or "key"
	Subject     string
	Audience    string // of a token
	ClientID    string // who exchanged it, of a token
	ID          string // jti, of a token
	Issuer      string // of a token
	KeyID       verifier.KeyID
	Keyspace    string
	Permissions verifier.Permissions
	IssuedAt    time.Time
	ExpiresAt   time.Time // zero: never
}

// Introspect tells whether a token or an API key is good now, by what the database
// says now: nothing is remembered, and nothing is charged. A client with the right
// tokens:introspect sees tokens for its audiences, and those that it exchanged; one
// with keys:peek too sees keys of its keyspaces. What it may not see is not active.
func (x *Exchange) Introspect(ctx context.Context, c *Caller, token string) (Introspection, error) {
	if !c.Holds(client.TokensIntrospect) {
		return Introspection{}, ErrRight
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if LooksLikeJWT(token) {
		return x.introspectToken(ctx, c, token)
	}
	if !c.Holds(client.KeysPeek) {
		return Introspection{}, nil
	}
	rec, now, err := x.keys.FindDigest(ctx, verifier.NewSecret(token).Digest())
	if err != nil {
		return Introspection{}, unavailable(err)
	}
	if rec == nil || !mayUse(c, rec.Key.Keyspace) || !good(rec, now) {
		return Introspection{}, nil
	}
	k := rec.Key
	return Introspection{
		Active: true, Kind: "key", Subject: subject(k.Owner, k.ID), KeyID: k.ID, Keyspace: k.Keyspace,
		Permissions: k.Permissions, IssuedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
	}, nil
}

func (x *Exchange) introspectToken(ctx context.Context, c *Caller, token string) (Introspection, error) {
	claims, ours := x.issuer.Read(token)
	visible := slices.Contains(c.Audiences, claims.Audience) || claims.ClientID == c.ID
	if !ours || !visible || !mayUse(c, claims.Keyspace) {
		return Introspection{}, nil
	}
	rec, now, err := x.keys.FindKey(ctx, verifier.KeyID(claims.KeyID))
	if err != nil {
		return Introspection{}, unavailable(err)
	}
	if rec == nil || !good(rec, now) || !x.issuer.Refers(claims, issuer.StatusRef(rec.Status)) || now.Unix() >= claims.ExpiresAt {
		return Introspection{}, nil
	}
	return Introspection{
		Active: true, Kind: "token", Subject: claims.Subject, Audience: claims.Audience, ClientID: claims.ClientID,
		ID: claims.ID, Issuer: claims.Issuer, KeyID: verifier.KeyID(claims.KeyID), Keyspace: claims.Keyspace,
		Permissions: claims.Permissions,
		IssuedAt:    time.Unix(claims.IssuedAt, 0), ExpiresAt: time.Unix(claims.ExpiresAt, 0),
	}, nil
}

// Revoke revokes an API key for good, for whoever holds it and a client that may
// use its keyspace and has the right tokens:revoke (RFC 7009 §2.1). A key that is
// not there, or not for this client, is no error. It returns the key that was
// revoked, empty if none was, and fails with ErrTokenType for what is no key.
func (x *Exchange) Revoke(ctx context.Context, c *Caller, token string) (id verifier.KeyID, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	err = x.asItIs(ctx, c, func(c *Caller) error {
		id, err = x.revokeOnce(ctx, c, token)
		return err
	})
	return id, err
}

func (x *Exchange) revokeOnce(ctx context.Context, c *Caller, token string) (verifier.KeyID, error) {
	if !c.Holds(client.TokensRevoke) {
		return "", ErrRight
	}
	if LooksLikeJWT(token) {
		return "", ErrTokenType
	}
	rec, _, err := x.keys.FindDigest(ctx, verifier.NewSecret(token).Digest())
	if err != nil {
		return "", unavailable(err)
	}
	if rec == nil || !mayUse(c, rec.Key.Keyspace) || rec.Key.State == verifier.Revoked {
		return "", nil
	}
	if err := x.revoke(ctx, c.Client, rec.Key.ID); err != nil {
		return "", unavailable(err)
	}
	return rec.Key.ID, nil
}

func unavailable(err error) error {
	return fmt.Errorf("looking at a key: %w: %w", verifier.ErrUnavailable, err)
}

func good(rec *verifier.Record, now time.Time) bool {
	k := rec.Key
	return k.State == verifier.Active && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

func mayUse(c *Caller, keyspace string) bool {
	return slices.Contains(c.Keyspaces, client.AnyKeyspace) || slices.Contains(c.Keyspaces, keyspace)
}

// LooksLikeJWT keeps tokens and keys apart: each goes its own way only.
func LooksLikeJWT(token string) bool {
	return strings.HasPrefix(token, "eyJ") && strings.Count(token, ".") == 2
}
