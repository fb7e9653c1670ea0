package importer

import (
	"encoding/json"
	"io"
	"strings"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// Unkey reads keys of Unkey, as JSON lines or one JSON array: objects as its API
// writes them, rows of its table keys, or what its migration takes.
//
// Its API never tells a hash. So they come from the database, or from Unkey's staff;
// or keys that can be recovered are listed with decrypt, and have a member plaintext.
func Unkey(r io.Reader, rules Rules) Source {
	return mapped(readRows(r), rules, true, unkey)
}

func unkey(f *fields) manage.ImportKey {
	identity := f.sub("identity")
	digest, secret := f.unkeyKey()
	key := manage.ImportKey{
		Digest:      digest,
		Start:       f.start(digest, secret),
		Keyspace:    f.keyspace("apiId", "keySpaceId", "keyAuthId"),
		Owner:       f.unkeyOwner(identity),
		Name:        f.name(),
		ExternalID:  f.externalID("keyId", "id"),
		Permissions: f.unkeyPermissions(),
		Metadata:    f.metadata("meta"),
		State:       f.unkeyState(),
		CreatedAt:   f.instant("createdAt", "createdAtM"),
		ExpiresAt:   f.expiry("expires"),
		Budget:      f.unkeyUses(),
	}
	key.Budget.Rate = f.unkeyRate()
	if identity.has("ratelimits") {
		f.note("identity.ratelimits: limits that keys share have no counterpart here")
	}
	if name := f.text("environment"); name != "" {
		f.note("environment: %.40q has no counterpart here", name)
	}
	return key
}

// unkeyKey reads the hash, alone or with its variant, or the key itself.
func (f *fields) unkeyKey() (verifier.Digest, *verifier.Secret) {
	raw, _ := f.get("hash")
	if raw == nil || raw[0] != '{' {
		return f.eitherKey("plaintext", "hash")
	}
	hash := f.sub("hash")
	switch variant := hash.text("variant"); variant {
	case "sha256_base64", "sha256_hex":
	default:
		hash.refuse("variant", "must be sha256_base64 or sha256_hex: other hashes cannot be looked up")
	}
	return hash.digest("value"), nil
}

func (f *fields) unkeyOwner(identity *fields) string {
	if !f.has("externalId", "ownerId") && identity.has("externalId") {
		return identity.owner("externalId")
	}
	return f.owner("externalId", "ownerId")
}

func (f *fields) unkeyState() verifier.State {
	switch {
	case !f.instant("deletedAt", "deletedAtM").IsZero():
		f.note("deletedAt: the key was deleted, so it is revoked")
		return verifier.Revoked
	case !f.flag("enabled"):
		return verifier.Disabled
	}
	return verifier.Active
}

// unkeyPermissions splits names at their first colon, or else at their last point:
// documents.read is the action read of documents. A name with neither is a resource
// with the action *, which is a plain name here.
func (f *fields) unkeyPermissions() verifier.Permissions {
	if roles := f.texts("roles"); len(roles) > 0 {
		f.note("roles: %.80q have no counterpart here, so what they allowed is not imported", strings.Join(roles, " "))
	}
	p := verifier.Permissions{}
	for _, name := range f.texts("permissions") {
		resource, action, found := strings.Cut(name, ":")
		if !found {
			at := max(strings.LastIndexByte(name, '.'), 0)
			resource, action = name[:at], strings.TrimPrefix(name[at:], ".")
		}
		if resource == "" || action == "" {
			f.note("permissions: %.40q became the action * of that resource", name)
			resource, action = name, "*"
		}
		p[resource] = append(p[resource], action)
	}
	return f.permissions(p)
}

// unkeyUses carries credits over: as an object, or as the columns of the table, where
// a refill without a day is a daily one.
func (f *fields) unkeyUses() verifier.Budget {
	credits, refill := f.sub("credits"), f.sub("refill")
	remaining := f.whole("remaining", "remainingRequests")
	if f.has("credits") {
		remaining, refill = credits.whole("remaining"), credits.sub("refill")
	}
	budget := f.counted(remaining, "remaining")
	amount, day := refill.whole("amount"), refill.whole("refillDay")
	interval, last := refill.text("interval"), refill.instant("lastRefillAt", "lastRefilledAt")
	if len(refill.members) == 0 {
		amount, day = f.whole("refillAmount"), f.whole("refillDay")
		interval, last = f.text("refillInterval"), f.instant("lastRefillAt")
	}
	switch {
	case amount == nil || *amount < 1:
		return budget
	case !budget.Counted:
		f.note("refill: is left out, since a key without remaining has no limit")
		return budget
	}
	budget.Refill = verifier.Refill{Amount: *amount, Interval: f.unkeyInterval(interval, day)}
	f.anchor(&budget, last, f.rules.Now)
	return budget
}

func (f *fields) unkeyInterval(interval string, day *int64) verifier.Interval {
	switch {
	case interval == "daily", interval == "" && day == nil:
		return verifier.Daily
	case interval != "" && interval != "monthly":
		f.refuse("refill", "must be daily or monthly")
	case day != nil && *day > 1:
		f.note("refill: was on day %d of the month, and is on the first here", *day)
	}
	return verifier.Monthly
}

// unkeyLimit is a rate limit as the API writes it; older keys have one without name,
// whose window is named in either of two ways.
type unkeyLimit struct {
	Name      string `json:"name"`
	Limit     *int64 `json:"limit"`
	Duration  *int64 `json:"duration"`       // milliseconds
	Interval  *int64 `json:"refillInterval"` // the same, before that
	AutoApply bool   `json:"autoApply"`
}

// unkeyRate takes the limit that every verification applied, or else the first.
func (f *fields) unkeyRate() verifier.Rate {
	var limits []unkeyLimit
	name := "ratelimits"
	if raw := f.jsonText("ratelimits"); raw != nil {
		if json.Unmarshal(raw, &limits) != nil {
			f.refuse(name, "must be a list of limits")
		}
	} else if raw := f.jsonText("ratelimit"); raw != nil {
		name, limits = "ratelimit", make([]unkeyLimit, 1)
		if json.Unmarshal(raw, &limits[0]) != nil {
			f.refuse(name, "must be a limit")
		}
	} else if f.has("ratelimitLimit") {
		limits = []unkeyLimit{{Limit: f.whole("ratelimitLimit"), Duration: f.whole("ratelimitDuration")}}
	}
	if len(limits) == 0 {
		return verifier.Rate{}
	}
	taken := f.oneLimit(limits)
	if taken.Duration == nil {
		taken.Duration = taken.Interval
	}
	if taken.Limit == nil || taken.Duration == nil || *taken.Limit < 1 {
		f.refuse(name, "must have a limit of 1 or more, and a duration")
		return verifier.Rate{}
	}
	return f.rate(*taken.Limit, *taken.Duration, name)
}

func (f *fields) oneLimit(limits []unkeyLimit) unkeyLimit {
	taken := 0
	for i := len(limits) - 1; i >= 0; i-- {
		if limits[i].AutoApply {
			taken = i
		}
	}
	for i, limit := range limits {
		switch {
		case i != taken:
			f.note("ratelimits: %.40q is left out: a key has one limit here", limit.Name)
		case limit.Name != "" && !limit.AutoApply:
			f.note("ratelimits: %.40q counts at every use here, and not when it is named", limit.Name)
		}
	}
	return limits[taken]
}
