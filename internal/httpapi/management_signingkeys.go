package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/issuer"
)

// Signing keys belong to no keyspace, have no versions, and a change of them is not
// made safe to repeat: who is not sure looks at the list.
func signingKeyOperations() []operation {
	read, write := []client.Right{client.SigningKeysRead}, []client.Right{client.SigningKeysWrite}
	return []operation{
		{method: http.MethodGet, path: wire.PathSigningKeys, rights: read, do: listSigningKeys},
		{method: http.MethodPost, path: wire.PathSigningKeys + "/rotate", rights: write, body: maxBody, do: rotateSigningKeys},
		{method: http.MethodPost, path: wire.PathSigningKeys + "/:kid/revoke", rights: write, body: maxBody, do: revokeSigningKey},
	}
}

// listSigningKeys is GET /v1/signing-keys.
func listSigningKeys(r *request) (result, error) {
	views, err := r.parts.Keys.Keys(r.ctx)
	if err != nil {
		return result{}, err
	}
	all := make([]wire.SigningKey, len(views))
	for i, v := range views {
		all[i] = v.Wire()
	}
	return result{body: map[string]any{"signing_keys": all}}, nil
}

// rotateSigningKeys is POST /v1/signing-keys/rotate.
func rotateSigningKeys(r *request) (result, error) {
	how := issuer.Rotation{Emergency: zero(given[bool](r.body, "emergency")), Fresh: zero(given[bool](r.body, "fresh"))}
	var invalid error
	if how.Fresh && !how.Emergency {
		invalid = &manage.InvalidError{Field: "fresh", Reason: errors.New("is for an emergency")}
	}
	if err := r.body.wrong(invalid); err != nil {
		return result{}, err
	}
	if err := r.parts.Keys.Rotate(r.acting(), how); err != nil {
		return result{}, err
	}
	return listSigningKeys(r)
}

// revokeSigningKey is POST /v1/signing-keys/KID/revoke.
func revokeSigningKey(r *request) (result, error) {
	kid, err := r.param("kid")
	if err != nil {
		return result{}, issuer.ErrUnknownKID
	}
	if err := r.body.wrong(nil); err != nil {
		return result{}, err
	}
	if err := r.parts.Keys.Revoke(r.acting(), kid); err != nil {
		return result{}, err
	}
	done, err := listSigningKeys(r)
	done.target = kid
	return done, err
}

// acting tells the store who acts, for its log.
func (r *request) acting() context.Context {
	return audit.By(r.ctx, audit.Actor{Kind: audit.KindClient, ID: r.call.client.ID, From: r.call.remote})
}
