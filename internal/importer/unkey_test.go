package importer_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

// unkey is a key as Unkey's API writes it, with its hash.
var unkey = format{
	read: func(text string, rules importer.Rules) importer.Source {
		return importer.Unkey(strings.NewReader(text), rules)
	},
	row: row{
		"keyId": "key_2cGKbMxRyIzhCxo1Idjz8q", "hash": base64.StdEncoding.EncodeToString(sum(secret)), "start": "QuiteL",
		"enabled": true, "createdAt": created.UnixMilli(), "identity": row{"id": "id_1", "externalId": "user_42"},
	},
	key: manage.ImportKey{
		Digest: verifier.Digest(sum(secret)), Start: "QuiteL", Keyspace: "default", Owner: "user_42",
		ExternalID: "key_2cGKbMxRyIzhCxo1Idjz8q", State: verifier.Active, CreatedAt: created,
	},
}

func TestUnkeyKeys(t *testing.T) {
	revoked := func(k *manage.ImportKey) { k.State = verifier.Revoked }
	hash := func(value, variant string) row { return row{"hash": row{"value": value, "variant": variant}} }
	unkey.run(t, map[string]mapping{
		"a hash is base64":                      {},
		"or has its variant":                    {row: hash(base64.StdEncoding.EncodeToString(sum(secret)), "sha256_base64")},
		"which may be hexadecimal":              {row: hash(hex.EncodeToString(sum(secret)), "sha256_hex")},
		"but nothing else":                      {row: hash("$2b$10$xyz", "bcrypt"), err: "hash.variant: must be sha256_base64 or sha256_hex"},
		"a hash that is none":                   {row: row{"hash": secret}, err: "hash: must be a SHA-256"},
		"a key that was recovered":              {row: row{"hash": nil, "plaintext": secret}},
		"not both":                              {row: row{"plaintext": secret}, err: "plaintext: and hash are both there"},
		"not neither, as its API lists them":    {row: row{"hash": nil}, err: "plaintext: is missing, and hash too"},
		"an API is a keyspace":                  {row: row{"apiId": "api_1"}, want: in("api_1")},
		"and so is a column":                    {row: row{"key_auth_id": "ks_1"}, want: in("ks_1")},
		"unless --keyspace names another":       {row: row{"apiId": "api_1"}, rules: importer.Rules{Keyspace: "moved"}, want: in("moved")},
		"an external id of its own is an owner": {row: row{"identity": nil, "externalId": "user_42"}},
		"and so is an owner of old":             {row: row{"identity": nil, "owner_id": "user_42"}},
		"a key of nobody":                       {row: row{"identity": nil}, want: func(k *manage.ImportKey) { k.Owner = "" }},
		"an owner like a key is refused":        {row: row{"identity": row{"externalId": "key_1"}}, err: "identity.externalId: owner must"},
		"a disabled key":                        {row: row{"enabled": false}, want: func(k *manage.ImportKey) { k.State = verifier.Disabled }},
		"a deleted key is revoked":              {row: row{"deleted_at_m": created.UnixMilli()}, note: "deletedAt: the key was deleted", want: revoked},
		"an expiry in milliseconds":             {row: row{"expires": 1893456000123}, want: func(k *manage.ImportKey) { k.ExpiresAt = time.Unix(1893456000, 0).UTC() }},
		"metadata is an object":                 {row: row{"meta": row{"plan": "pro"}}, want: func(k *manage.ImportKey) { k.Metadata = json.RawMessage(`{"plan":"pro"}`) }},
		"or text":                               {row: row{"meta": `{"plan":"pro"}`}, want: func(k *manage.ImportKey) { k.Metadata = json.RawMessage(`{"plan":"pro"}`) }},
		"an environment has no counterpart":     {row: row{"environment": "test"}, note: `environment: "test" has no counterpart`},
		"nor has a shared limit":                {row: row{"identity": row{"externalId": "user_42", "ratelimits": []row{{}}}}, note: "identity.ratelimits: limits that keys share"},
	})
}

func TestUnkeyPermissions(t *testing.T) {
	holds := func(p verifier.Permissions) func(*manage.ImportKey) {
		return func(k *manage.ImportKey) { k.Permissions = p }
	}
	names := func(names ...string) row { return row{"permissions": names} }
	unkey.run(t, map[string]mapping{
		"split at their last point":          {row: names("documents.read", "documents.write", "eu.files.read"), want: holds(verifier.Permissions{"documents": {"read", "write"}, "eu.files": {"read"}})},
		"split at their first colon":         {row: names("documents:read:all"), want: holds(verifier.Permissions{"documents": {"read:all"}})},
		"a colon comes before a point":       {row: names("eu.files:read.all"), want: holds(verifier.Permissions{"eu.files": {"read.all"}})},
		"a name with neither has one action": {row: names("admin"), note: `permissions: "admin" became the action *`, want: holds(verifier.Permissions{"admin": {"*"}})},
		"a name with half a pair too":        {row: names("admin."), note: `permissions: "admin."`, want: holds(verifier.Permissions{"admin.": {"*"}})},
		"a star is a name":                   {row: names("documents.*"), want: holds(verifier.Permissions{"documents": {"*"}})},
		"none":                               {row: names()},
		"roles have no counterpart":          {row: row{"roles": []string{"admin", "editor"}}, note: `roles: "admin editor" have no counterpart`},
		"a list it is":                       {row: row{"permissions": row{"documents": []string{"read"}}}, err: "permissions: must be a list"},
	})
}

func TestUnkeyLimits(t *testing.T) {
	month, today := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	last := noon.Add(-72 * time.Hour)
	uses := func(interval verifier.Interval, anchor, refilled time.Time) func(*manage.ImportKey) {
		return budget(verifier.Budget{Counted: true, Remaining: 5, Refilled: refilled,
			Refill: verifier.Refill{Amount: 100, Interval: interval, Anchor: anchor}})
	}
	credits := func(refill row) row { return row{"credits": row{"remaining": 5, "refill": refill}} }
	minute := verifier.Rate{Limit: 10, Window: time.Minute, Burst: 10}
	limit := func(name string, auto bool, limit int) row {
		return row{"id": "rl_1", "name": name, "limit": limit, "duration": 60000, "autoApply": auto}
	}
	unkey.run(t, map[string]mapping{
		"no credits is no limit":         {row: row{"credits": row{"remaining": nil}}},
		"credits that remain":            {row: row{"credits": row{"remaining": 5}}, want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"remaining, as older keys say":   {row: row{"remaining": 5}, want: budget(verifier.Budget{Counted: true, Remaining: 5})},
		"a daily refill":                 {row: credits(row{"interval": "daily", "amount": 100}), want: uses(verifier.Daily, noon, today)},
		"a monthly refill":               {row: credits(row{"interval": "monthly", "amount": 100, "refillDay": 1}), want: uses(verifier.Monthly, noon, month)},
		"on a day of the month":          {row: credits(row{"interval": "monthly", "amount": 100, "refillDay": 15}), note: "refill: was on day 15", want: uses(verifier.Monthly, noon, month)},
		"whose last one is known":        {row: row{"remaining": 5, "refill": row{"interval": "daily", "amount": 100, "lastRefillAt": last.UnixMilli()}}, want: uses(verifier.Daily, last, last)},
		"in the table, daily":            {row: row{"remaining_requests": 5, "refill_amount": 100, "refill_day": nil}, want: uses(verifier.Daily, noon, today)},
		"in the table, monthly":          {row: row{"remaining_requests": 5, "refill_amount": 100, "refill_day": 1}, want: uses(verifier.Monthly, noon, month)},
		"not weekly":                     {row: credits(row{"interval": "weekly", "amount": 100}), err: "refill: must be daily or monthly"},
		"of a key without limit":         {row: row{"credits": row{"refill": row{"interval": "daily", "amount": 100}}}, note: "refill: is left out"},
		"credits are an object":          {row: row{"credits": 5}, err: "credits: must be an object"},
		"a rate limit":                   {row: row{"ratelimits": []row{limit("requests", true, 10)}}, want: budget(verifier.Budget{Rate: minute})},
		"the one that is always applied": {row: row{"ratelimits": []row{limit("tokens", false, 7), limit("requests", true, 10)}}, note: `ratelimits: "tokens" is left out`, want: budget(verifier.Budget{Rate: minute})},
		"or the first":                   {row: row{"ratelimits": []row{limit("tokens", false, 10)}}, note: `ratelimits: "tokens" counts at every use`, want: budget(verifier.Budget{Rate: minute})},
		"none of none":                   {row: row{"ratelimits": []row{}}},
		"a limit as older keys say":      {row: row{"ratelimit": row{"limit": 10, "duration": 60000}}, want: budget(verifier.Budget{Rate: minute})},
		"or still older":                 {row: row{"ratelimit": row{"type": "fast", "limit": 10, "refillRate": 10, "refillInterval": 60000}}, want: budget(verifier.Budget{Rate: minute})},
		"in the table":                   {row: row{"ratelimit_limit": 10, "ratelimit_duration": 60000}, want: budget(verifier.Budget{Rate: minute})},
		"a limit without a duration":     {row: row{"ratelimits": []row{{"name": "x", "limit": 10}}}, err: "ratelimits: must have a limit of 1 or more, and a duration", note: ""},
		"limits are a list":              {row: row{"ratelimits": row{"limit": 1}}, err: "ratelimits: must be a list"},
		"a limit of 0":                   {row: row{"ratelimits": []row{limit("requests", true, 0)}}, err: "ratelimits: must have a limit of 1"},
	})
}
