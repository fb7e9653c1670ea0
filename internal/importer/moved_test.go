package importer_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/importer"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/verifier"
)

const backend = "https://orders.example.com"

// verify exchanges keys as a client of every keyspace.
func (p place) verify(t *testing.T) func(key string) (verifier.Grant, error) {
	t.Helper()
	if _, err := p.CreateClient(t.Context(), manage.NewClient{ID: "orders", Audiences: []string{backend}, Keyspaces: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	c, err := p.store.Client(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifier.New(verifier.Config{Store: p.store})
	if err != nil {
		t.Fatal(err)
	}
	return func(key string) (verifier.Grant, error) {
		return v.Verify(context.WithoutCancel(t.Context()), verifier.Request{Key: verifier.NewSecret(key), Cost: 1, Client: c.Allowance()})
	}
}

// A row of Better Auth's table, its key, and what becomes of the key's uses here.
type move struct {
	row    row
	grants int // until it is refused; 3: it never is
	why    string
}

// moves are relative to now; whatever they wait for is far from it.
func moves(now time.Time) map[string]move {
	const hour = 3_600_000
	at := func(d time.Duration) string { return now.Add(d).UTC().Format("2006-01-02T15:04:05.999999+00:00") }
	daily := row{"refillAmount": 2, "refillInterval": 24 * hour}
	return map[string]move{
		"without limits":                          {row{}, 3, ""},
		"with the usual rate limit":               {row{"rateLimitMax": 1_000_000, "rateLimitTimeWindow": hour}, 3, ""},
		"with one use left":                       {row{"remaining": 1}, 1, "spent"},
		"with nothing left":                       {row{"remaining": 0}, 0, "spent"},
		"with nothing left and a refill due":      {daily.with(row{"remaining": 0, "lastRefillAt": at(-25 * time.Hour)}), 2, "spent"},
		"with nothing left and a refill to come":  {daily.with(row{"remaining": 0, "lastRefillAt": at(-23 * time.Hour)}), 0, "spent"},
		"with a refill due since its creation":    {daily.with(row{"remaining": 0, "createdAt": at(-49 * time.Hour)}), 2, "spent"},
		"whose rate limit is used up":             {row{"rateLimitMax": 2, "rateLimitTimeWindow": 10 * hour, "requestCount": 2, "lastRequest": at(0)}, 0, "rate_limited"},
		"whose rate limit is half used":           {row{"rateLimitMax": 2, "rateLimitTimeWindow": 10 * hour, "requestCount": 1, "lastRequest": at(0)}, 1, "rate_limited"},
		"whose rate limit is used up, but off":    {row{"rateLimitMax": 2, "rateLimitTimeWindow": 10 * hour, "requestCount": 2, "lastRequest": at(0), "rateLimitEnabled": false}, 3, ""},
		"that is disabled":                        {row{"enabled": false}, 0, "disabled"},
		"that is expired":                         {row{"expiresAt": at(-time.Hour)}, 0, "expired"},
		"that expires later":                      {row{"expiresAt": at(time.Hour)}, 3, ""},
		"that was kept as it is":                  {row{"configId": "plain"}, 3, ""},
		"with a refill that does nothing":         {daily, 3, ""},
		"that looks like one of ours, mistyped":   {row{"alias": "ck_0123456789abcdefABCDEF0123456789xxxxxx"}, 3, ""},
		"with permissions in a text of its own":   {row{"permissions": `"{\"files\":[\"read\"]}"`}, 3, ""},
		"with metadata that is too long to print": {row{"metadata": `{"a":"` + strings.Repeat("x", 9000) + `"}`}, 3, ""},
	}
}

func TestKeysOfBetterAuthGoOnWorking(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		now := time.Now()
		keys, text := map[string]string{}, ""
		for name, m := range moves(now) {
			k := key(len(keys))
			if alias, ok := m.row["alias"].(string); ok {
				k = alias
			}
			keys[name] = k
			stored := base64url(k)
			if m.row["configId"] == "plain" {
				stored = k
			}
			text += betterAuth.row.with(row{"id": name, "key": stored, "start": k[:6]}).with(m.row).String() + "\n"
		}
		rules := importer.Rules{Now: now, PlaintextConfigs: []string{"plain"}}
		summary, outcomes := imported(t, p, importer.BetterAuth(strings.NewReader(text), rules), importer.Options{Strict: true})
		if int(summary.Imported) != len(keys) {
			t.Fatalf("%+v", summary)
		}
		ids := map[string]verifier.KeyID{}
		for _, o := range outcomes {
			ids[o.Key.ExternalID] = o.ID
		}
		verify := p.verify(t)
		for name, m := range moves(now) {
			t.Run(name, func(t *testing.T) {
				for n := range m.grants {
					if grant, err := verify(keys[name]); err != nil || grant.Owner != "user_42" || grant.KeyID != ids[name] {
						t.Fatalf("use %d: %+v, %v", n+1, grant, err)
					}
				}
				if m.why == "" {
					return
				}
				if _, err := verify(keys[name]); !errors.Is(err, verifier.ErrRefused) || verifier.Reason(err) != m.why {
					t.Errorf("after %d uses: %v", m.grants, err)
				}
			})
		}
	})
}

func TestKeysOfUnkeyAndOthersGoOnWorking(t *testing.T) {
	onEachStore(t, func(t *testing.T, p place) {
		rules := importer.Rules{Now: time.Now()}
		imported(t, p, importer.Unkey(strings.NewReader(unkey.row.with(row{
			"permissions": []string{"documents.read"}, "credits": row{"remaining": 1},
			"meta": json.RawMessage(`{"plan":"pro"}`),
		}).String()), rules), importer.Options{Strict: true})
		imported(t, p, importer.JSONLines(strings.NewReader(neutral.row.with(row{"key": key(1), "audiences": []string{backend}}).String()), rules), importer.Options{Strict: true})
		verify := p.verify(t)
		grant, err := verify(secret)
		if err != nil || len(grant.Permissions["documents"]) != 1 || grant.Owner != "user_42" {
			t.Errorf("%+v, %v", grant, err)
		}
		if _, err := verify(secret); verifier.Reason(err) != "spent" {
			t.Error(err)
		}
		if grant, err := verify(key(1)); err != nil || grant.Audience != backend {
			t.Errorf("%+v, %v", grant, err)
		}
	})
}
