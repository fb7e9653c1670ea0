package verifier

import (
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/permission"
)

// Decide says whether the key in rec may be exchanged as req asks, and charges
// rec's budget if so. rec is nil for an unknown key. It is pure: the same
// arguments give the same answer, and a refusal leaves rec as it was; it tells
// which key it is about, for our own log.
//
// The order is a promise: what is wrong with the key comes first, then what is
// wrong with the request for this key, then the limits.
func Decide(now time.Time, rec *Record, req Request) (Grant, error) {
	if rec == nil {
		return Grant{}, ErrUnknown
	}
	refused := Grant{KeyID: rec.Key.ID, Keyspace: rec.Key.Keyspace}
	if err := usable(now, &rec.Key, req); err != nil {
		return refused, err
	}
	audience, ok := target(&rec.Key, req)
	if !ok {
		return refused, ErrAudience
	}
	granted, ok := grantable(&rec.Key, req)
	if !ok {
		return refused, ErrPermission
	}
	charged, err := rec.Budget.charge(now, req.Cost)
	if err != nil {
		return refused, err
	}
	*rec.Budget = charged
	rec.use(req.Client.ID, audience, req.Cost)
	grant := Grant{
		KeyID:         rec.Key.ID,
		Keyspace:      rec.Key.Keyspace,
		Owner:         rec.Key.Owner,
		Audience:      audience,
		Permissions:   granted,
		TokenLifetime: rec.Keyspace.TokenLifetime,
		NotAfter:      rec.Key.ExpiresAt,
		GrantedAt:     now,
		Status:        rec.Status,
	}
	if rec.Keyspace.PublishMetadata {
		grant.Metadata = rec.Key.Metadata
	}
	return grant, nil
}

// usable: may this client use this key at all, now?
func usable(now time.Time, key *Key, req Request) error {
	switch {
	case req.Keyspace != "" && req.Keyspace != key.Keyspace,
		!req.Client.AllKeyspaces && !slices.Contains(req.Client.Keyspaces, key.Keyspace):
		return ErrWrongKeyspace
	case key.State == Revoked:
		return ErrRevoked
	case key.State != Active:
		return ErrDisabled
	case !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt):
		return ErrExpired
	}
	return nil
}

// target resolves the one audience of the token: exactly as asked, or the
// client's only one, if the client and the key may both use it.
func target(key *Key, req Request) (string, bool) {
	asked := req.Targets
	if len(asked) == 0 {
		asked = req.Client.Audiences
	}
	if len(asked) != 1 {
		return "", false
	}
	audience := asked[0]
	if !slices.Contains(req.Client.Audiences, audience) {
		return "", false
	}
	return audience, len(key.Audiences) == 0 || slices.Contains(key.Audiences, audience)
}

// grantable returns the permissions of the token: those asked, if the key and
// the client hold them all, else, with none asked, all that both hold.
func grantable(key *Key, req Request) (Permissions, bool) {
	if req.Unholdable {
		return nil, false
	}
	held := key.Permissions
	if req.Client.Permissions != nil {
		held = permission.Intersect(key.Permissions, req.Client.Permissions)
	}
	if req.Permissions == nil {
		return held, true
	}
	return req.Permissions, permission.Covers(held, req.Permissions)
}
