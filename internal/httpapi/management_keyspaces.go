package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func keyspaceOperations() []operation {
	read, write := []client.Right{client.KeysRead, client.KeyspacesWrite}, []client.Right{client.KeyspacesWrite}
	one := wire.PathKeyspaces + "/:name"
	return []operation{
		{method: http.MethodGet, path: wire.PathKeyspaces, rights: read, do: listKeyspaces},
		{method: http.MethodPost, path: wire.PathKeyspaces, rights: write, body: maxBody, once: true, do: createKeyspace},
		{method: http.MethodGet, path: one, rights: read, do: showKeyspace},
		{method: http.MethodPatch, path: one, rights: write, body: maxBody, patches: true, once: true, version: versionOfKeyspace, do: patchKeyspace},
		{method: http.MethodDelete, path: one, rights: write, once: true, version: versionOfKeyspace, do: deleteKeyspace},
		{method: http.MethodPost, path: one + "/void", rights: write, body: maxBody, empty: true, once: true, do: voidKeyspace},
		{method: http.MethodPost, path: wire.PathVoid, rights: []client.Right{client.KeysWrite, client.KeyspacesWrite}, body: maxBody, once: true, do: voidMany},
	}
}

func versionOfKeyspace(r *request) (int64, error) {
	name, err := r.param("name")
	if err != nil {
		return 0, err
	}
	ks, err := r.manager().Keyspace(r.ctx, name)
	return ks.Version, err
}

func foundKeyspace(ks manage.KeyspaceRecord, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	return result{body: ks.Wire(), version: ks.Version, target: ks.Name}, nil
}

// listKeyspaces is GET /v1/keyspaces.
func listKeyspaces(r *request) (result, error) {
	found, err := r.manager().Keyspaces(r.ctx)
	if err != nil {
		return result{}, err
	}
	all := make([]wire.Keyspace, len(found))
	for i, ks := range found {
		all[i] = ks.Wire()
	}
	return result{body: map[string]any{"keyspaces": all}}, nil
}

// createKeyspace is POST /v1/keyspaces.
func createKeyspace(r *request) (result, error) {
	b := r.body
	n := manage.NewKeyspace{
		Name:            zero(given[string](b, "name")),
		Prefix:          zero(given[string](b, "prefix")),
		KeyLifetime:     seconds(zero(given[int64](b, "key_lifetime"))),
		TokenLifetime:   seconds(zero(given[int64](b, "token_lifetime"))),
		PublishMetadata: zero(given[bool](b, "publish_metadata")),
		ImportedKeys:    zero(given[bool](b, "imported_keys")),
		WeakKeys:        zero(given[bool](b, "weak_keys")),
	}
	if err := b.wrong(nil); err != nil {
		return result{}, err
	}
	done, err := foundKeyspace(r.manager().CreateKeyspace(r.ctx, n))
	done.status, done.location = http.StatusCreated, wire.PathKeyspaces+"/"+done.target
	return done, err
}

// showKeyspace is GET /v1/keyspaces/NAME.
func showKeyspace(r *request) (result, error) {
	name, err := r.param("name")
	if err != nil {
		return result{}, err
	}
	return foundKeyspace(r.manager().Keyspace(r.ctx, name))
}

// patchKeyspace is PATCH /v1/keyspaces/NAME.
func patchKeyspace(r *request) (result, error) {
	name, err := r.param("name")
	if err != nil {
		return result{}, err
	}
	b := r.body
	p := manage.KeyspacePatch{
		Prefix:          given[string](b, "prefix"),
		KeyLifetime:     lifetime(b, "key_lifetime"),
		TokenLifetime:   lifetime(b, "token_lifetime"),
		PublishMetadata: given[bool](b, "publish_metadata"),
		ImportedKeys:    given[bool](b, "imported_keys"),
		WeakKeys:        given[bool](b, "weak_keys"),
	}
	if err := b.wrong(nil); err != nil {
		return result{}, err
	}
	return foundKeyspace(r.manager().PatchKeyspace(r.ctx, name, p))
}

// lifetime reads seconds; null is none.
func lifetime(b *members, name string) *time.Duration {
	n := patched[int64](b, name)
	if n == nil {
		return nil
	}
	return new(seconds(*n))
}

// deleteKeyspace is DELETE /v1/keyspaces/NAME.
func deleteKeyspace(r *request) (result, error) {
	name, err := r.param("name")
	if err != nil {
		return result{}, err
	}
	if err := r.manager().DeleteKeyspace(r.ctx, name); err != nil {
		return result{}, err
	}
	return result{status: http.StatusNoContent, target: name}, nil
}

// voidKeyspace is POST /v1/keyspaces/NAME/void.
func voidKeyspace(r *request) (result, error) {
	name, err := r.param("name")
	if err != nil {
		return result{}, err
	}
	r.reason()
	if err := r.body.wrong(nil); err != nil {
		return result{}, err
	}
	if err := r.manager().VoidKeyspace(r.ctx, name); err != nil {
		return result{}, err
	}
	return result{body: wire.Voided{Keyspaces: new(1)}, target: name}, nil
}

// voidMany is POST /v1/void: every token, or those of the keys of an owner.
func voidMany(r *request) (result, error) {
	all, owner := zero(given[bool](r.body, "all")), zero(given[string](r.body, "owner"))
	r.reason()
	var invalid error
	switch err := verifier.ValidateOwner(owner); {
	case err != nil:
		invalid = &manage.InvalidError{Field: "owner", Reason: err}
	case all == (owner != ""):
		invalid = &manage.InvalidError{Field: "owner", Reason: errors.New("or all must say what is to be void, one of these")}
	}
	if err := r.body.wrong(invalid); err != nil {
		return result{}, err
	}
	right, void := client.KeysWrite, func(ctx context.Context, m *manage.Manager) (wire.Voided, error) {
		n, err := m.VoidOwner(ctx, owner)
		return wire.Voided{Keys: &n}, err
	}
	if all {
		right, void = client.KeyspacesWrite, func(ctx context.Context, m *manage.Manager) (wire.Voided, error) {
			n, err := m.VoidAll(ctx)
			return wire.Voided{Keyspaces: &n}, err
		}
	}
	if !r.call.client.Holds(right) {
		return result{}, errForbidden
	}
	said, err := void(r.ctx, r.manager())
	if err != nil {
		return result{}, err
	}
	return result{body: said}, nil
}
