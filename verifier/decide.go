package verifier

import (
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/permission"
)

// Decide says whether the key in rec may be used as req asks, and charges rec's
// budget if so. rec is nil for an unknown key; first is what was charged before
// under req.Repeat.ID, nil if nothing was. It is pure: the same arguments give the
// same answer, and a refusal leaves rec as it was; it tells which key it is about.
//
// The order is a promise: what is wrong with the key comes first, then what is
// wrong with the request for this key, then the limits. A repeat passes everything
// but the limits: its charge is the first's.
func Decide(now time.Time, rec *Record, first *Charged, req Request) (Grant, error) {
	if first != nil && first.Request != req.Repeat.Request {
		return Grant{}, ErrRepeat
	}
	if rec == nil {
		return Grant{}, ErrUnknown
	}
	if err := usable(now, &rec.Key, req); err != nil {
		return Grant{KeyID: rec.Key.ID, Keyspace: rec.Key.Keyspace}, err
	}
	held := held(&rec.Key, req)
	good := about(now, rec, held)
	refuse := func(err error) (Grant, error) {
		good.Balance = rec.Budget.balance(now)
		return good, err
	}
	audience, ok := target(&rec.Key, req)
	if !ok {
		return refuse(ErrAudience)
	}
	granted, ok := grantable(held, req)
	if !ok {
		return refuse(ErrPermission)
	}
	grant := good
	grant.Audience, grant.Permissions = audience, granted
	if rec.Keyspace.PublishMetadata && len(rec.Key.Metadata) <= MaxTokenMetadata {
		grant.Metadata = rec.Key.Metadata
	}
	if first != nil {
		return first.grantAgain(grant)
	}
	if err := rec.charge(now, audience, req); err != nil {
		return refuse(err)
	}
	grant.GrantedAt, grant.TokenID, grant.Balance = now, req.Repeat.TokenID, rec.Budget.balance(now)
	return grant, nil
}

// about is what may be said of a good key, before anything is granted, but for its
// balance.
func about(now time.Time, rec *Record, held Permissions) Grant {
	return Grant{
		KeyID:         rec.Key.ID,
		Keyspace:      rec.Key.Keyspace,
		Owner:         rec.Key.Owner,
		Name:          rec.Key.Name,
		ExternalID:    rec.Key.ExternalID,
		KeyMetadata:   rec.Key.Metadata,
		Permissions:   held,
		TokenLifetime: rec.Keyspace.TokenLifetime,
		NotAfter:      rec.Key.ExpiresAt,
		DecidedAt:     now,
		Status:        rec.Status,
	}
}

// charge takes req's cost, and counts the use. Who peeks is answered as if it were
// 1, and leaves everything as it was.
func (r *Record) charge(now time.Time, audience string, req Request) error {
	if req.Peek {
		_, err := r.Budget.charge(now, 1)
		return err
	}
	charged, err := r.Budget.charge(now, req.Cost)
	if err != nil {
		return err
	}
	*r.Budget = charged
	r.use(req.Client.ID, audience, req.Cost)
	return nil
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
// client's only one, if the client and the key may both use it. Without a token, a
// client that has none needs none, unless the key is for some only.
func target(key *Key, req Request) (string, bool) {
	asked := req.Targets
	if req.NoToken && len(asked) == 0 && len(req.Client.Audiences) == 0 {
		return "", len(key.Audiences) == 0
	}
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

// held returns what key and client both hold.
func held(key *Key, req Request) Permissions {
	if req.Client.Permissions == nil {
		return key.Permissions
	}
	return permission.Intersect(key.Permissions, req.Client.Permissions)
}

// grantable returns the permissions to grant: those asked, if all are held, else,
// with none asked, all that is held. Nothing covers a request for no permission at
// all.
func grantable(held Permissions, req Request) (Permissions, bool) {
	switch {
	case req.Unholdable:
		return nil, false
	case req.Permissions == nil:
		return held, true
	case len(req.Permissions) == 0:
		return nil, false
	}
	return req.Permissions, permission.Covers(held, req.Permissions)
}
