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

var neutral = format{
	read: func(text string, rules importer.Rules) importer.Source {
		return importer.JSONLines(strings.NewReader(text), rules)
	},
	row: row{"key": secret},
	key: manage.ImportKey{Digest: verifier.Digest(sum(secret)), Start: "QuiteL", Keyspace: "default", State: verifier.Active},
}

func TestJSONLinesKeys(t *testing.T) {
	digest := func(text string) row { return row{"key": Absent, "key_sha256": text} }
	noStart := func(k *manage.ImportKey) { k.Start = "" }
	neutral.run(t, map[string]mapping{
		"a key is hashed":              {},
		"a digest in hexadecimal":      {row: digest(hex.EncodeToString(sum(secret))), want: noStart},
		"in capitals":                  {row: digest(strings.ToUpper(hex.EncodeToString(sum(secret)))), want: noStart},
		"in base64":                    {row: digest(base64.StdEncoding.EncodeToString(sum(secret))), want: noStart},
		"in base64 without padding":    {row: digest(base64.RawStdEncoding.EncodeToString(sum(secret))), want: noStart},
		"in base64url":                 {row: digest(base64.RawURLEncoding.EncodeToString(sum(secret))), want: noStart},
		"in base64url with padding":    {row: digest(base64.URLEncoding.EncodeToString(sum(secret))), want: noStart},
		"not in two alphabets at once": {row: digest(strings.Repeat("+-", 21) + "A"), err: "key_sha256: must be a SHA-256"},
		"not with bits to spare":       {row: digest(strings.Repeat("A", 42) + "B"), err: "key_sha256: must be a SHA-256"},
		"not of another length":        {row: digest(hex.EncodeToString(sum(secret)[1:])), err: "key_sha256: must be a SHA-256"},
		"not the key":                  {row: digest(secret), err: "key_sha256: must be a SHA-256"},
		"not both":                     {row: row{"key_sha256": base64url(secret)}, err: "key: and key_sha256 are both there"},
		"not neither":                  {row: row{"key": nil}, err: "key: is missing, and key_sha256 too"},
		"a short key is refused":       {row: row{"key": "tooshortakey"}, err: "key: has 12 characters"},
		"a short key is taken, if it is said": {row: row{"key": "tooshortakey"}, rules: importer.Rules{AllowWeak: true}, note: "can be guessed",
			want: func(k *manage.ImportKey) {
				k.Digest, k.Start, k.Weak = verifier.Digest(sum("tooshortakey")), "too", true
			}},
		"members are exact":     {row: row{"Owner": "x"}, err: `"Owner": is not a member`},
		"and no others":         {row: row{"expiry": 1}, err: `"expiry": is not a member`},
		"nor is a key told":     {row: row{secret: row{}}, err: `"QuiteLon…": is not a member`},
		"nor are they numbered": {row: row{"owner": "a", "own\ner": "b"}, err: `"own\ner": is not a member`},
	})
}

func TestJSONLinesMembers(t *testing.T) {
	at := time.Date(2026, time.January, 15, 10, 0, 0, 0, time.UTC)
	state := func(s verifier.State) func(*manage.ImportKey) {
		return func(k *manage.ImportKey) { k.State = s }
	}
	neutral.run(t, map[string]mapping{
		"every member": {
			row: row{
				"keyspace": "live", "owner": "user_42", "name": "laptop", "external_id": "old-1", "start": "Quite",
				"permissions": row{"projects": []string{"read"}}, "audiences": []string{"https://orders.example.com"},
				"metadata": row{"plan": "pro"}, "enabled": false, "created_at": at, "expires_at": at.Add(time.Hour),
				"remaining": 7, "refill": "10/month", "rate": "100/1m,20",
			},
			want: func(k *manage.ImportKey) {
				*k = manage.ImportKey{
					Digest: k.Digest, Start: "Quite", Keyspace: "live", Owner: "user_42", Name: "laptop", ExternalID: "old-1",
					Permissions: verifier.Permissions{"projects": {"read"}}, Audiences: []string{"https://orders.example.com"},
					Metadata: json.RawMessage(`{"plan":"pro"}`), State: verifier.Disabled, CreatedAt: at, ExpiresAt: at.Add(time.Hour),
					Budget: verifier.Budget{
						Counted: true, Remaining: 7, Refilled: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
						Refill: verifier.Refill{Amount: 10, Interval: verifier.Monthly, Anchor: at},
						Rate:   verifier.Rate{Limit: 100, Window: time.Minute, Burst: 20},
					},
				}
			}},
		"a state":                        {row: row{"state": "revoked"}, want: state(verifier.Revoked)},
		"not another state":              {row: row{"state": "gone"}, err: "state: must be"},
		"not a state and enabled":        {row: row{"state": "active", "enabled": true}, err: "enabled: and state"},
		"enabled":                        {row: row{"enabled": true}},
		"audiences are no text":          {row: row{"audiences": "https://orders.example.com"}, err: "audiences: must be JSON"},
		"a rate that is none":            {row: row{"rate": "often"}, err: "rate: rate must be"},
		"a refill that is none":          {row: row{"refill": "often"}, err: "refill: refill"},
		"an anchor of nothing":           {row: row{"refill_anchor": at}, err: "refill_anchor: is there without refill"},
		"--keyspace names another":       {row: row{"keyspace": "live"}, rules: importer.Rules{Keyspace: "moved"}, want: in("moved")},
		"a keyspace that is none":        {row: row{"keyspace": "no spaces"}, err: "keyspace: keyspace name"},
		"remaining without a refill":     {row: row{"remaining": 0}, want: budget(verifier.Budget{Counted: true})},
		"permissions that nobody can do": {row: row{"permissions": row{"projects": []string{}}}, note: "allows no action"},
	})
}

func TestJSONLinesRefills(t *testing.T) {
	hourly := func(anchor, refilled time.Time) func(*manage.ImportKey) {
		return func(k *manage.ImportKey) {
			k.Budget = verifier.Budget{Counted: true, Remaining: 10, Refilled: refilled,
				Refill: verifier.Refill{Amount: 10, Interval: verifier.Every(time.Hour), Anchor: anchor}}
		}
	}
	half := noon.Add(-150 * time.Minute)
	neutral.run(t, map[string]mapping{
		"begin with their amount, now": {row: row{"refill": "10/1h"}, want: hourly(noon, noon)},
		"are counted from the creation, and the running period was refilled": {row: row{"refill": "10/1h", "created_at": half},
			want: func(k *manage.ImportKey) { hourly(half, noon.Add(-30*time.Minute))(k); k.CreatedAt = half }},
		"are counted from the last refill, so that one that is due comes": {row: row{"refill": "10/1h", "refill_anchor": half},
			want: hourly(half, half)},
		"are counted from now, if the key is of tomorrow": {row: row{"refill": "10/1h", "created_at": noon.Add(24 * time.Hour)},
			want: func(k *manage.ImportKey) { hourly(noon, noon)(k); k.CreatedAt = noon.Add(24 * time.Hour) }},
	})
}
