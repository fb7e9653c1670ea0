package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

func keyOperations() []operation {
	read, write := []client.Right{client.KeysRead}, []client.Right{client.KeysWrite}
	one := wire.PathKeys + "/:id"
	ops := []operation{
		{method: http.MethodGet, path: wire.PathKeys, rights: read, do: listKeys,
			query: []string{"keyspace", "owner", "name", "external_id", "state", "after", "limit"}},
		{method: http.MethodPost, path: wire.PathKeys, rights: write, body: maxBody, once: true, do: createKey},
		{method: http.MethodGet, path: one, rights: read, do: showKey},
		{method: http.MethodPatch, path: one, rights: write, body: maxBody, patches: true, once: true, version: versionOfKey, do: patchKey},
		{method: http.MethodDelete, path: one, rights: write, once: true, version: versionOfKey, do: deleteKey},
	}
	for action, do := range map[string]func(*request) (result, error){
		"/disable": changeState((*manage.Manager).DisableKey),
		"/enable":  changeState((*manage.Manager).EnableKey),
		"/revoke":  changeState((*manage.Manager).RevokeKey),
		"/void":    changeState((*manage.Manager).VoidKey),
		"/rotate":  rotateKey,
	} {
		ops = append(ops, operation{method: http.MethodPost, path: one + action, rights: write, body: maxBody, empty: true, once: true, version: versionOfKey, do: do})
	}
	return append(ops, operation{method: http.MethodPost, path: one + "/budget", rights: write, body: maxBody, once: true, version: versionOfKey, do: changeBudget})
}

// keyID keeps away from the store, and from its errors, what may well be a key itself:
// no key that we make begins as ids do.
var keyIDPattern = regexp.MustCompile(`^key_[A-Za-z0-9_-]{1,60}$`)

func (r *request) keyID() (verifier.KeyID, error) {
	id, err := r.param("id")
	if err == nil && !keyIDPattern.MatchString(id) {
		err = manage.ErrNotFound
	}
	return verifier.KeyID(id), err
}

func versionOfKey(r *request) (int64, error) {
	id, err := r.keyID()
	if err != nil {
		return 0, err
	}
	key, err := r.manager().Key(r.ctx, id)
	return key.Version, err
}

func foundKey(key manage.KeyView) result {
	return result{body: key.Wire(), version: key.Version, target: string(key.Key.ID)}
}

// listKeys is GET /v1/keys.
func listKeys(r *request) (result, error) {
	q := r.query
	filter := manage.KeyFilter{
		Keyspaces: q["keyspace"], Owner: q.Get("owner"), Name: q.Get("name"), ExternalID: q.Get("external_id"),
		State: r.oneOf("state", manage.StateActive, manage.StateDisabled, manage.StateRevoked, manage.StateExpired),
		After: r.keyParameter("after"), Limit: int(r.number("limit", 100, 1, 1000)),
	}
	if err := r.asked(); err != nil {
		return result{}, err
	}
	keys, next, err := r.manager().PageOfKeys(r.ctx, filter)
	if err != nil {
		return result{}, err
	}
	page := wire.KeyPage{Keys: make([]wire.Key, len(keys))}
	for i, key := range keys {
		page.Keys[i] = key.Wire()
	}
	done := result{body: &page}
	if next != "" {
		page.Next = new(string(next))
		done.next = r.following("after", string(next))
	}
	return done, nil
}

// following is the query of the next page.
func (r *request) following(name, value string) url.Values {
	next := maps.Clone(r.query)
	next.Set(name, value)
	return next
}

// keyParameter reads a parameter that is the id of a key.
func (r *request) keyParameter(name string) verifier.KeyID {
	if r.query.Has(name) && !keyIDPattern.MatchString(r.query.Get(name)) {
		r.fault(name, "must be the id of a key, which begins with key_")
	}
	return verifier.KeyID(r.query.Get(name))
}

// createKey is POST /v1/keys.
func createKey(r *request) (result, error) {
	b := r.body
	n := manage.NewKey{
		Keyspace:    or(given[string](b, "keyspace"), "default"),
		Owner:       zero(given[string](b, "owner")),
		Name:        zero(given[string](b, "name")),
		ExternalID:  zero(given[string](b, "external_id")),
		Permissions: zero(given[verifier.Permissions](b, "permissions")),
		Audiences:   zero(given[[]string](b, "audiences")),
		Metadata:    zero(nullable[json.RawMessage](b, "metadata")),
		ExpiresIn:   seconds(zero(nullable[int64](b, "expires_in"))),
		Remaining:   nullable[int64](b, "remaining"),
		Refill:      zero(parsed(b, "refill", verifier.ParseRefill)),
		Rate:        zero(parsed(b, "rate", verifier.ParseRate)),
	}
	if err := b.wrong(errors.Join(named("keyspace", n.Keyspace), n.Validate())); err != nil {
		return result{}, err
	}
	made, err := r.manager().CreateKey(r.ctx, n)
	if err != nil {
		return result{}, err
	}
	return r.madeKey(made, r.createdKey(made)), nil
}

// madeKey answers with body, which is about a key that was just made.
func (r *request) madeKey(made manage.CreatedKey, body any) result {
	id := string(made.Key.ID)
	return result{status: http.StatusCreated, body: body, version: made.Version, location: wire.PathKeys + "/" + id, target: id}
}

// createdKey holds the key itself, unless this is a repeat.
func (r *request) createdKey(made manage.CreatedKey) wire.CreatedKey {
	created := wire.CreatedKey{Key: made.Wire(), Replayed: r.did.Replayed}
	if !r.did.Replayed {
		created.Secret = new(made.Secret.Reveal())
	}
	return created
}

// showKey is GET /v1/keys/ID.
func showKey(r *request) (result, error) {
	id, err := r.keyID()
	if err != nil {
		return result{}, err
	}
	key, err := r.manager().Key(r.ctx, id)
	if err == nil && !key.DeletedAt.IsZero() {
		err = manage.ErrDeleted // what it was for is in the log
	}
	if err != nil {
		return result{}, err
	}
	return foundKey(key), nil
}

// patchKey is PATCH /v1/keys/ID, a merge patch (RFC 7396): what is absent stays, and
// null is none.
func patchKey(r *request) (result, error) {
	id, err := r.keyID()
	if err != nil {
		return result{}, err
	}
	b := r.body
	p := manage.KeyPatch{
		Name:        patched[string](b, "name"),
		Permissions: patched[verifier.Permissions](b, "permissions"),
		Audiences:   patched[[]string](b, "audiences"),
		Metadata:    patched[json.RawMessage](b, "metadata"),
		ExpiresAt:   parsed(b, "expires_at", instant),
		Budget:      readBudget(b),
	}
	if err := b.wrong(p.Validate()); err != nil {
		return result{}, err
	}
	key, err := r.manager().PatchKey(r.ctx, id, p)
	if err != nil {
		return result{}, err
	}
	return foundKey(key), nil
}

// readBudget reads what key and budget have in common.
func readBudget(b *members) manage.BudgetChange {
	return manage.BudgetChange{
		Unlimited: b.null("remaining"),
		Remaining: nullable[int64](b, "remaining"),
		Refill:    parsed(b, "refill", verifier.ParseRefill),
		Rate:      parsed(b, "rate", verifier.ParseRate),
	}
}

// changeBudget is POST /v1/keys/ID/budget.
func changeBudget(r *request) (result, error) {
	id, err := r.keyID()
	if err != nil {
		return result{}, err
	}
	change := readBudget(r.body)
	change.Add = zero(given[int64](r.body, "add"))
	r.reason()
	invalid := change.Validate()
	if change == (manage.BudgetChange{}) {
		invalid = &manage.InvalidError{Field: "remaining", Reason: errors.New("or add, refill or rate must say what is to change")}
	}
	if err := r.body.wrong(invalid); err != nil {
		return result{}, err
	}
	key, err := r.manager().ChangeBudget(r.ctx, id, change)
	if err != nil {
		return result{}, err
	}
	return foundKey(key), nil
}

// deleteKey is DELETE /v1/keys/ID.
func deleteKey(r *request) (result, error) {
	id, err := r.keyID()
	if err != nil {
		return result{}, err
	}
	key, err := r.manager().DeleteKey(r.ctx, id)
	return result{status: http.StatusNoContent, target: string(key.Key.ID)}, err
}

// changeState is POST /v1/keys/ID/ACTION, for actions that need no more than a reason.
func changeState(change func(*manage.Manager, context.Context, verifier.KeyID) (manage.KeyView, error)) func(*request) (result, error) {
	return func(r *request) (result, error) {
		id, err := r.keyID()
		if err != nil {
			return result{}, err
		}
		r.reason()
		if err := r.body.wrong(nil); err != nil {
			return result{}, err
		}
		key, err := change(r.manager(), r.ctx, id)
		if err != nil {
			return result{}, err
		}
		return foundKey(key), nil
	}
}

// rotateKey is POST /v1/keys/ID/rotate.
func rotateKey(r *request) (result, error) {
	id, err := r.keyID()
	if err != nil {
		return result{}, err
	}
	rotation := manage.Rotation{
		Overlap:   seconds(zero(given[int64](r.body, "overlap"))),
		ExpiresIn: seconds(zero(nullable[int64](r.body, "expires_in"))),
	}
	r.reason()
	if err := r.body.wrong(nil); err != nil {
		return result{}, err
	}
	made, err := r.manager().RotateKey(r.ctx, id, rotation)
	if err != nil {
		return result{}, err
	}
	return r.madeKey(made.CreatedKey, wire.RotatedKey{CreatedKey: r.createdKey(made.CreatedKey), Predecessor: made.Predecessor.Wire()}), nil
}
