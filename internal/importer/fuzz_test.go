package importer_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/verifier"
)

// keyed are the members that hold a key or its digest, in all formats.
var keyed = regexp.MustCompile(`"(key|key_sha256|value)"\s*:\s*"[^"]*"`)

// fuzz reads whatever comes: a row is a good key or it has an error, and neither the
// error nor a note tells the key, unless the same text is elsewhere in the row, where
// it may be a role or a resource.
func fuzz(f *testing.F, format format, seeds ...row) {
	f.Add(format.row.String())
	for _, seed := range seeds {
		f.Add(format.row.with(seed).String())
		f.Add("[" + format.row.with(seed).String() + "]")
	}
	f.Add("[[]]")
	f.Add("{\"a\":1}\n\n{")
	f.Fuzz(func(t *testing.T, text string) {
		tells := func(string) {}
		if rest := keyed.ReplaceAllString(text, ""); !slices.ContainsFunc(secrets, func(part string) bool { return strings.Contains(rest, part) }) {
			tells = func(said string) { noSecret(t, said) }
		}
		rules := importer.Rules{Now: noon, PlaintextConfigs: []string{"raw"}, AllowWeak: true}
		for row, err := range format.read(text, rules) {
			if err != nil {
				tells(err.Error())
				return
			}
			if row.Err != nil {
				tells(row.Err.Error())
				continue
			}
			tells(strings.Join(row.Notes, "\n"))
			holds(t, row)
		}
	})
}

// holds checks what a store relies on.
func holds(t *testing.T, row importer.Row) {
	k, b := row.Key, row.Key.Budget
	if k.Digest == (verifier.Digest{}) || row.Number < 1 {
		t.Errorf("row %d has no digest", row.Number)
	}
	if verifier.ValidateOwner(k.Owner) != nil || verifier.ValidateName(k.Name) != nil || verifier.ValidateKeyspace(k.Keyspace) != nil || len(k.Start) > 32 {
		t.Errorf("%q, %q, %q, %q", k.Owner, k.Name, k.Keyspace, k.Start)
	}
	for resource, actions := range k.Permissions {
		if len(actions) == 0 {
			t.Errorf("%q has no actions", resource)
		}
	}
	_ = permission.Scope(k.Permissions)
	if b.Remaining < 0 || (b.Rate != verifier.Rate{} && b.Rate.Validate() != nil) || b.TAT.After(noon.Add(b.Rate.Window)) {
		t.Errorf("%+v", b)
	}
	if b.Refill != (verifier.Refill{}) {
		if _, err := verifier.ParseInterval(b.Refill.Interval.String()); err != nil || b.Refill.Amount < 1 || b.Refill.Anchor.IsZero() {
			t.Errorf("%+v, %v", b.Refill, err)
		}
	}
	if !k.ExpiresAt.IsZero() && (k.ExpiresAt.Year() < 1970 || k.ExpiresAt.Year() > 2200) {
		t.Errorf("expires %v", k.ExpiresAt)
	}
}

func FuzzBetterAuth(f *testing.F) {
	fuzz(f, betterAuth,
		row{"configId": "raw", "key": secret},
		row{"remaining": 5, "refillAmount": 100, "refillInterval": 1000, "lastRefillAt": "2026-11-23 18:00:00.123456+00"},
		row{"rateLimitMax": 10, "rateLimitTimeWindow": 3600000, "requestCount": 5, "lastRequest": noon},
		row{"permissions": `"{\"files\":[\"read\"]}"`, "metadata": `{"plan":"pro"}`, "expiresAt": "9999-12-31"},
	)
}

func FuzzUnkey(f *testing.F) {
	fuzz(f, unkey,
		row{"credits": row{"remaining": 5, "refill": row{"interval": "monthly", "amount": 10, "refillDay": 15}}},
		row{"ratelimits": []row{{"name": "requests", "limit": 10, "duration": 60000, "autoApply": true}}},
		row{"permissions": []string{"documents.read", "a:b", "admin"}, "roles": []string{"x"}},
		row{"hash": row{"value": secret, "variant": "sha256_hex"}},
	)
}

func FuzzJSONLines(f *testing.F) {
	fuzz(f, neutral,
		row{"key": nil, "key_sha256": base64url(secret)},
		row{"remaining": 7, "refill": "10/month", "rate": "100/1m,20", "refill_anchor": noon},
		row{"permissions": row{"projects": []string{"read"}}, "audiences": []string{"https://orders.example.com"}},
	)
}
