package importer

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// JSONLines reads the format for keys from anywhere, lines or one array of objects:
//
//	{"key_sha256":"…","owner":"user_42","permissions":{"projects":["read"]},"rate":"100/1m"}
//
// Members, all but the first optional:
//
//   - key, or key_sha256: the key itself, or its digest in hexadecimal, base64 or
//     base64url
//   - keyspace: default
//   - owner, name, external_id, start: text
//   - permissions: {"resource":["action"]}
//   - audiences: ["https://…"]
//   - metadata: an object
//   - enabled: true or false; or state: active, disabled or revoked
//   - created_at, expires_at: RFC 3339, or milliseconds since 1970
//   - remaining: uses left; null, or absent without a refill: no limit
//   - refill: 1000/month, 1000/day or 1000/24h
//   - refill_anchor: when it was refilled last, where periods of a fixed length are
//     counted from; absent: the period that is running was refilled
//   - rate: 100/1m, or 100/1m,20 with a burst
//
// Any other member is an error of its row.
func JSONLines(r io.Reader, rules Rules) Source {
	return mapped(readRows(r), rules, false, neutral)
}

var neutralMembers = []string{
	"key", "key_sha256", "keyspace", "owner", "name", "external_id", "start", "permissions", "audiences", "metadata", "enabled",
	"state", "created_at", "expires_at", "remaining", "refill", "refill_anchor", "rate",
}

func neutral(f *fields) manage.ImportKey {
	for _, name := range slices.Sorted(maps.Keys(f.members)) {
		if !slices.Contains(neutralMembers, name) {
			f.found.bad = append(f.found.bad, fmt.Sprintf("%q: is not a member of this format", nameStart(name)))
		}
	}
	digest, secret := f.eitherKey("key", "key_sha256")
	key := manage.ImportKey{
		Digest:      digest,
		Start:       f.start(digest, secret),
		Keyspace:    f.keyspace("keyspace"),
		Owner:       f.owner("owner"),
		Name:        f.name(),
		ExternalID:  f.externalID("external_id"),
		Permissions: f.permissionMap("permissions"),
		Audiences:   f.texts("audiences"),
		Metadata:    f.metadata("metadata"),
		State:       f.state(),
		CreatedAt:   f.instant("created_at"),
		ExpiresAt:   f.expiry("expires_at"),
	}
	key.Budget = f.neutralBudget(key.CreatedAt)
	return key
}

// nameStart is enough to find a member by. A name may be a key, in a file that lists
// what it has by its keys.
func nameStart(name string) string {
	if start := cut(name, 8); start != name {
		return start + "…"
	}
	return name
}

// eitherKey reads a key or its digest, whichever is there; a key is returned too.
func (f *fields) eitherKey(plain, digest string) (verifier.Digest, *verifier.Secret) {
	switch {
	case f.has(plain) && f.has(digest):
		f.refuse(plain, "and %s are both there", digest)
	case f.has(digest):
		return f.digest(digest), nil
	case f.has(plain):
		if secret := f.plain(plain); secret != nil {
			return secret.Digest(), secret
		}
	default:
		f.refuse(plain, "is missing, and %s too", digest)
	}
	return verifier.Digest{}, nil
}

func (f *fields) state() verifier.State {
	if f.has("enabled") && f.has("state") {
		f.refuse("enabled", "and state are both there")
	}
	switch state := verifier.State(f.text("state")); {
	case state == verifier.Active, state == verifier.Disabled, state == verifier.Revoked:
		return state
	case state != "":
		f.refuse("state", "must be active, disabled or revoked")
	case !f.flag("enabled"):
		return verifier.Disabled
	}
	return verifier.Active
}

// texts reads a list of strings, or its JSON text.
func (f *fields) texts(name string) []string {
	raw := f.jsonText(name)
	var list []string
	if raw != nil && json.Unmarshal(raw, &list) != nil {
		f.refuse(name, "must be a list of strings")
	}
	return list
}

func (f *fields) neutralBudget(created time.Time) verifier.Budget {
	budget := f.counted(f.whole("remaining"), "remaining")
	anchor := f.instant("refill_anchor")
	if text := f.text("refill"); text != "" {
		refill, err := verifier.ParseRefill(text)
		if err != nil {
			f.refuse("refill", "%v", err)
		}
		if !budget.Counted {
			budget.Counted, budget.Remaining = true, refill.Amount
		}
		budget.Refill = refill
		f.anchor(&budget, anchor, created)
	} else if !anchor.IsZero() {
		f.refuse("refill_anchor", "is there without refill")
	}
	if text := f.text("rate"); text != "" {
		var err error
		if budget.Rate, err = verifier.ParseRate(text); err != nil {
			f.refuse("rate", "%v", err)
		}
	}
	return budget
}

// anchor counts the periods of a budget from its last refill. If that is not known,
// they are counted from the key's creation, and the one that is running was refilled.
func (f *fields) anchor(budget *verifier.Budget, last, created time.Time) {
	budget.Refill.Anchor = last
	if !last.IsZero() {
		budget.Refilled = last
		return
	}
	if budget.Refill.Anchor = created; created.IsZero() || created.After(f.rules.Now) {
		budget.Refill.Anchor = f.rules.Now
	}
	*budget = budget.StartedAt(f.rules.Now)
}
