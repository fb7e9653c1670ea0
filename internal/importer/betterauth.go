package importer

import (
	"encoding/base64"
	"io"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// BetterAuth reads rows of the table of Better Auth's API-key plugin: JSON lines, or
// one JSON array. Members may be named as its columns are, or with underscores.
func BetterAuth(r io.Reader, rules Rules) Source {
	return mapped(readRows(r), rules, true, betterAuth)
}

func betterAuth(f *fields) manage.ImportKey {
	config := f.text("configId")
	if config == "" {
		config = "default"
	}
	digest, secret := f.betterAuthKey(config)
	key := manage.ImportKey{
		Digest:      digest,
		Start:       f.start(digest, secret),
		Keyspace:    f.keyspace("configId"),
		Owner:       f.owner("referenceId", "userId"),
		Name:        f.name(),
		ExternalID:  f.externalID("id"),
		Permissions: f.permissionMap("permissions"),
		Metadata:    f.metadata("metadata"),
		State:       verifier.Active,
		CreatedAt:   f.instant("createdAt"),
		ExpiresAt:   f.expiry("expiresAt"),
	}
	if !f.flag("enabled") {
		key.State = verifier.Disabled
	}
	key.Budget = f.betterAuthUses(key.CreatedAt)
	f.betterAuthRate(&key.Budget)
	return key
}

// betterAuthKey reads the column key: a digest, unless the caller said that rows of
// this configuration hold keys; then that key is returned too.
func (f *fields) betterAuthKey(config string) (verifier.Digest, *verifier.Secret) {
	if !f.has("key") {
		f.refuse("key", "is missing")
		return verifier.Digest{}, nil
	}
	if !f.rules.plaintext(config) {
		digest, ok := base64url(f.text("key"))
		if !ok {
			f.refuse("key", "is not the SHA-256 of a key in base64url; if %.40q keeps keys as they are, say --plaintext-config", config)
		}
		return digest, nil
	}
	secret := f.plain("key")
	if secret == nil {
		return verifier.Digest{}, nil
	}
	if _, ok := base64url(secret.Reveal()); ok {
		f.note("key: has the form of a digest; it was taken for the key itself, as --plaintext-config says")
	}
	return secret.Digest(), secret
}

// base64url reads 43 characters, the only form in which Better Auth keeps a digest.
func base64url(s string) (verifier.Digest, bool) {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(sum) != len(verifier.Digest{}) {
		return verifier.Digest{}, false
	}
	return verifier.Digest(sum), true
}

// betterAuthUses carries remaining and its refill over. The last refill is where
// periods are counted from and what was refilled last, so a refill that was due when
// the key moved comes with its first use here.
func (f *fields) betterAuthUses(created time.Time) verifier.Budget {
	remaining, amount, interval := f.whole("remaining"), f.whole("refillAmount"), f.whole("refillInterval")
	last := f.instant("lastRefillAt")
	budget := f.counted(remaining, "remaining")
	refills := amount != nil && interval != nil && *amount != 0 && *interval != 0
	switch {
	case !refills && (amount != nil && *amount != 0 || interval != nil && *interval != 0):
		f.note("refillAmount, refillInterval: one without the other never refilled")
		return budget
	case !refills:
		return budget
	case remaining == nil:
		f.note("refillAmount: is left out, since a key without remaining has no limit")
		return budget
	case *amount < 0 || *interval < 0:
		f.note("refillAmount, refillInterval: are left out, since they are below 0")
		return budget
	}
	every, err := milliseconds(*interval)
	if err != nil {
		f.refuse("refillInterval", "%v", err)
		return budget
	}
	if every < time.Second {
		f.note("refillInterval: is below a second, so it is a second")
		every = time.Second
	}
	if last.IsZero() {
		last = created
	}
	if last.IsZero() {
		f.note("createdAt: is missing, so the first period begins now")
		last = f.rules.Now
	}
	budget.Refill = verifier.Refill{Amount: *amount, Interval: verifier.Every(every), Anchor: last}
	budget.Refilled = last
	return budget
}

// betterAuthRate carries the rate limit over, with the uses of the running window.
func (f *fields) betterAuthRate(budget *verifier.Budget) {
	limit, window := f.whole("rateLimitMax"), f.whole("rateLimitTimeWindow")
	used, last := f.whole("requestCount"), f.instant("lastRequest")
	if !f.flag("rateLimitEnabled") || limit == nil || window == nil || *window <= 0 {
		return
	}
	if *limit < 1 {
		f.note("rateLimitMax: is below 1, where Better Auth lets one request through after each idle window, so it is 1")
		*limit = 1
	}
	budget.Rate = f.rate(*limit, *window, "rateLimitMax")
	if used == nil || *used < 1 || budget.Rate == (verifier.Rate{}) {
		return
	}
	if last.After(f.rules.Now) {
		last = f.rules.Now
	}
	step := budget.Rate.Window / time.Duration(budget.Rate.Limit)
	busy := last.Add(time.Duration(min(*used, budget.Rate.Burst)) * step)
	if !last.IsZero() && busy.After(f.rules.Now) {
		budget.TAT = busy
	}
}
