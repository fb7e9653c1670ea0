package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func clientOperations() []operation {
	read, write := []client.Right{client.ClientsRead}, []client.Right{client.ClientsWrite}
	one := wire.PathClients + "/:id"
	return []operation{
		{method: http.MethodGet, path: wire.PathClients, rights: read, do: listClients},
		{method: http.MethodPost, path: wire.PathClients, rights: write, body: maxBody, once: true, do: createClient},
		{method: http.MethodGet, path: one, rights: read, do: showClient},
		{method: http.MethodPatch, path: one, rights: write, body: maxBody, patches: true, once: true, version: versionOfClient, do: patchClient},
		{method: http.MethodDelete, path: one, rights: write, once: true, version: versionOfClient, do: deleteClient},
		{method: http.MethodPost, path: one + "/disable", rights: write, body: maxBody, empty: true, once: true, version: versionOfClient, do: switchClient((*manage.Manager).DisableClient)},
		{method: http.MethodPost, path: one + "/enable", rights: write, body: maxBody, empty: true, once: true, version: versionOfClient, do: switchClient((*manage.Manager).EnableClient)},
		{method: http.MethodPost, path: one + "/secrets", rights: write, body: maxBody, empty: true, once: true, version: versionOfClient, do: addSecret},
		{method: http.MethodDelete, path: one + "/secrets/:secret", rights: write, once: true, version: versionOfClient, do: revokeSecret},
	}
}

func versionOfClient(r *request) (int64, error) {
	id, err := r.param("id")
	if err != nil {
		return 0, err
	}
	c, err := r.manager().Client(r.ctx, id)
	return c.Version, err
}

func foundClient(c client.Client, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	return result{body: manage.ClientWire(c), version: c.Version, target: c.ID}, nil
}

// listClients is GET /v1/clients.
func listClients(r *request) (result, error) {
	found, err := r.manager().Clients(r.ctx)
	if err != nil {
		return result{}, err
	}
	all := make([]wire.Client, len(found))
	for i, c := range found {
		all[i] = manage.ClientWire(c)
	}
	return result{body: map[string]any{"clients": all}}, nil
}

// createClient is POST /v1/clients.
func createClient(r *request) (result, error) {
	b := r.body
	n := manage.NewClient{
		ID:          zero(given[string](b, "client_id")),
		Rights:      rights(zero(given[[]string](b, "rights"))),
		Audiences:   zero(given[[]string](b, "audiences")),
		Keyspaces:   zero(given[[]string](b, "keyspaces")),
		Permissions: zero(nullable[verifier.Permissions](b, "permissions")),
		Algorithm:   zero(given[string](b, "algorithm")),
		NoSecret:    zero(given[bool](b, "no_secret")),
		Registered: manage.NewRegistered{
			JWKS:         zero(given[json.RawMessage](b, "jwks")),
			Certificates: zero(given[[]string](b, "certificates")),
			SANDNS:       zero(given[string](b, "tls_client_auth_san_dns")),
			SANURI:       zero(given[string](b, "tls_client_auth_san_uri")),
		},
	}
	if err := b.wrong(nil); err != nil {
		return result{}, err
	}
	made, err := r.manager().CreateClient(r.ctx, n)
	if err != nil {
		return result{}, err
	}
	done := r.givenSecret(made)
	done.location = wire.PathClients + "/" + made.ID
	return done, nil
}

// givenSecret answers with a secret that was just made, unless this is a repeat or there is
// none.
func (r *request) givenSecret(made manage.CreatedClient) result {
	created := wire.CreatedClient{Client: manage.ClientWire(made.Client), Replayed: r.did.Replayed}
	if made.Secret != (verifier.Secret{}) && !r.did.Replayed {
		created.Secret = new(made.Secret.Reveal())
		created.SecretID = client.Secret{Digest: made.Secret.Digest()}.ID()
	}
	return result{status: http.StatusCreated, body: created, version: made.Version, target: made.ID}
}

func rights(names []string) []client.Right {
	list := make([]client.Right, len(names))
	for i, name := range names {
		list[i] = client.Right(name)
	}
	return list
}

// showClient is GET /v1/clients/ID.
func showClient(r *request) (result, error) {
	id, err := r.param("id")
	if err != nil {
		return result{}, err
	}
	return foundClient(r.manager().Client(r.ctx, id))
}

// patchClient is PATCH /v1/clients/ID. Permissions that are null are no bound.
func patchClient(r *request) (result, error) {
	id, err := r.param("id")
	if err != nil {
		return result{}, err
	}
	b := r.body
	p := manage.ClientPatch{
		Audiences:   patched[[]string](b, "audiences"),
		Keyspaces:   given[[]string](b, "keyspaces"),
		Permissions: patched[verifier.Permissions](b, "permissions"),
		Algorithm:   patched[string](b, "algorithm"),
		Registered: manage.RegisteredPatch{
			JWKS:         given[json.RawMessage](b, "jwks"),
			Certificates: patched[[]string](b, "certificates"),
			SANDNS:       patched[string](b, "tls_client_auth_san_dns"),
			SANURI:       patched[string](b, "tls_client_auth_san_uri"),
		},
	}
	if names := given[[]string](b, "rights"); names != nil {
		p.Rights = new(rights(*names))
	}
	if err := b.wrong(nil); err != nil {
		return result{}, err
	}
	return foundClient(r.manager().PatchClient(r.ctx, id, p))
}

// switchClient is POST /v1/clients/ID/disable and enable.
func switchClient(change func(*manage.Manager, context.Context, string) (client.Client, error)) func(*request) (result, error) {
	return func(r *request) (result, error) {
		id, err := r.param("id")
		if err != nil {
			return result{}, err
		}
		r.reason()
		if err := r.body.wrong(nil); err != nil {
			return result{}, err
		}
		return foundClient(change(r.manager(), r.ctx, id))
	}
}

// deleteClient is DELETE /v1/clients/ID.
func deleteClient(r *request) (result, error) {
	id, err := r.param("id")
	if err != nil {
		return result{}, err
	}
	if err := r.manager().DeleteClient(r.ctx, id); err != nil {
		return result{}, err
	}
	return result{status: http.StatusNoContent, target: id}, nil
}

// addSecret is POST /v1/clients/ID/secrets.
func addSecret(r *request) (result, error) {
	id, err := r.param("id")
	if err != nil {
		return result{}, err
	}
	r.reason()
	if err := r.body.wrong(nil); err != nil {
		return result{}, err
	}
	made, err := r.manager().AddSecret(r.ctx, id)
	if err != nil {
		return result{}, err
	}
	return r.givenSecret(made), nil
}

// revokeSecret is DELETE /v1/clients/ID/secrets/SECRET-ID.
func revokeSecret(r *request) (result, error) {
	id, err := r.param("id")
	if err != nil {
		return result{}, err
	}
	secret, err := r.param("secret")
	if err != nil {
		return result{}, err
	}
	c, err := r.manager().RevokeSecret(r.ctx, id, secret)
	if err != nil {
		return result{}, err
	}
	return result{status: http.StatusNoContent, target: c.ID}, nil
}
