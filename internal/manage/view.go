package manage

import (
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// KeyView is a key as an operator sees it, with its budget as of now.
type KeyView struct {
	KeyRecord
	At time.Time // the database's clock
}

// view shows the balance that a request would find now.
func view(rec KeyRecord, at time.Time) KeyView {
	budget := rec.Budget.At(at)
	rec.Budget = &budget
	return KeyView{rec, at}
}

// Expired reports whether the key's time is over.
func (v KeyView) Expired() bool {
	return !v.Key.ExpiresAt.IsZero() && !v.At.Before(v.Key.ExpiresAt)
}

// Wire is v as others are told of it.
func (v KeyView) Wire() wire.Key {
	k := wire.Key{
		ID:          string(v.Key.ID),
		Start:       v.Key.Start,
		Keyspace:    v.Key.Keyspace,
		Owner:       v.Key.Owner,
		Name:        v.Key.Name,
		ExternalID:  v.Key.ExternalID,
		Permissions: v.Key.Permissions,
		Audiences:   orEmpty(v.Key.Audiences),
		Metadata:    v.Key.Metadata,
		State:       string(v.Key.State),
		Reason:      v.Reason,
		Expired:     v.Expired(),
		CreatedAt:   wire.Pointer(v.Key.CreatedAt),
		ChangedAt:   wire.Pointer(v.ChangedAt),
		ExpiresAt:   wire.Pointer(v.Key.ExpiresAt),
		DeletedAt:   wire.Pointer(v.DeletedAt),
		Refill:      orNull(v.Budget.Refill.String()),
		RefillAt:    wire.Pointer(v.Budget.RefillAt(v.At)),
		Rate:        orNull(v.Budget.Rate.String()),
		Budget:      string(v.Budget.ID),
		Replaces:    orNull(string(v.Replaces)),
		ReplacedBy:  orNull(string(v.ReplacedBy)),
		Version:     v.Version,
	}
	if k.Permissions == nil {
		k.Permissions = verifier.Permissions{}
	}
	if v.Budget.Counted {
		k.Remaining = &v.Budget.Remaining
	}
	return k
}

// Wire is ks as others are told of it.
func (ks KeyspaceRecord) Wire() wire.Keyspace {
	return wire.Keyspace{
		Name:            ks.Name,
		Prefix:          ks.Prefix,
		KeyLifetime:     int64(ks.KeyLifetime / time.Second),
		TokenLifetime:   int64(ks.TokenLifetime / time.Second),
		PublishMetadata: ks.PublishMetadata,
		ImportedKeys:    ks.ImportedKeys,
		WeakKeys:        ks.WeakKeys,
		CreatedAt:       wire.Pointer(ks.CreatedAt),
		ChangedAt:       wire.Pointer(ks.ChangedAt),
		Version:         ks.Version,
	}
}

// ClientWire is c as others are told of it.
func ClientWire(c client.Client) wire.Client {
	rights := make([]string, len(c.Rights))
	for i, r := range c.Rights {
		rights[i] = string(r)
	}
	secrets := make([]wire.ClientSecret, len(c.Secrets))
	for i, s := range c.Secrets {
		secrets[i] = wire.ClientSecret{ID: s.ID(), CreatedAt: wire.Pointer(s.CreatedAt)}
	}
	certificates := make([]string, len(c.Certificates))
	for i, t := range c.Certificates {
		certificates[i] = t.String()
	}
	return wire.Client{
		ID:          c.ID,
		Rights:      rights,
		Audiences:   orEmpty(c.Audiences),
		Keyspaces:   orEmpty(c.Keyspaces),
		Permissions: c.Permissions,
		Algorithm:   c.Algorithm,
		Disabled:    c.Disabled,
		Secrets:     secrets,

		JWKS:         jwksWire(c.Keys),
		Certificates: certificates,
		SANDNS:       c.SANDNS,
		SANURI:       c.SANURI,

		CreatedAt: wire.Pointer(c.CreatedAt),
		ChangedAt: wire.Pointer(c.ChangedAt),
		Version:   c.Version,
	}
}

// jwksWire is nil for no keys.
func jwksWire(keys []client.Key) *wire.JWKS {
	if len(keys) == 0 {
		return nil
	}
	set := &wire.JWKS{}
	for _, k := range keys {
		jwk, err := k.JWK()
		if err != nil {
			panic(err) // of a key that was read
		}
		set.Keys = append(set.Keys, jwk)
	}
	return set
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
