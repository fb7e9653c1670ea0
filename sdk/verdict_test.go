package sdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// ask makes an online call about the desk's key.
func (d *desk) ask(t *testing.T, req sdk.VerifyRequest) (*sdk.Token, error) {
	t.Helper()
	req.Key, req.Online = d.key, true
	return d.client.VerifyAPIKey(t.Context(), req)
}

// goodAnswer is one to an online call without permissions, with members set or,
// where nil, left out.
func goodAnswer(members map[string]any) handler {
	said := map[string]any{
		"valid": true, "code": "valid", "audience": billing, "remaining": nil, "refill_at": nil, "rate_limit": nil,
		"key": map[string]any{
			"id": "key_7", "owner": "user_42", "keyspace": "default", "name": "", "external_id": "",
			"permissions": map[string]any{"projects": []string{"read", "write"}}, "metadata": nil, "expires_at": nil,
		},
	}
	for name, value := range members {
		if said[name] = value; value == nil {
			delete(said, name)
		}
	}
	body, err := json.Marshal(said)
	if err != nil {
		panic(err)
	}
	return says(200, string(body))
}

func TestAnOnlineAnswerSaysWhatATokenWould(t *testing.T) {
	const answer = `{
		"valid": true, "code": "valid", "audience": "https://billing.example.com",
		"key": {
			"id": "key_7", "owner": "user_42", "keyspace": "secret", "name": "ci", "external_id": "x",
			"permissions": {"projects": ["read", "write"]}, "metadata": {"plan": "pro"}, "expires_at": "2026-06-01T00:00:00.5Z"
		},
		"remaining": 41, "refill_at": "2026-06-01T00:00:00Z",
		"rate_limit": {"limit": 100, "window_ms": 60000, "burst": 20, "remaining": 19, "reset_at": "2026-05-04T12:00:00.6Z"},
		"new": {"in": "a later version"}
	}`
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(says(200, answer))
		token, err := d.ask(t, sdk.VerifyRequest{Keyspace: "secret"})
		wantAccepted(t, err)
		if !token.Allows("projects", "write") || token.Allows("projects", "delete") {
			t.Error("it allows what it should not, or not what it should")
		}
		got := fmt.Sprintln(token.Issuer() == d.URL(), token.Subject(), token.Audience(), token.ClientID(), token.KeyID(), token.Keyspace(),
			token.Scope(), string(token.Metadata()), token.ExpiresAt(), token.ID() == "", token.IssuedAt().IsZero())
		want := fmt.Sprintln(true, "user_42", billing, sdktest.ClientID, "key_7", "secret",
			"projects:read projects:write", `{"plan": "pro"}`, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), true, true)
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		budget, ok := token.Budget()
		if !ok || budget != (sdk.Budget{
			Limited: true, Remaining: 41, RefillAt: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
			RateLimit: sdk.RateLimit{Limit: 100, Window: time.Minute, Burst: 20, Remaining: 19, ResetAt: noon.Add(600 * time.Millisecond)},
		}) {
			t.Errorf("got %+v", budget)
		}
	})
}

func TestAKeyWithoutOwnerStandsForItself(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(goodAnswer(map[string]any{"key": map[string]any{"id": "key_7", "owner": "", "keyspace": "default"}}))
		token, err := d.ask(t, sdk.VerifyRequest{})
		wantAccepted(t, err)
		if token.Subject() != "key_7" || token.Metadata() != nil || !token.ExpiresAt().IsZero() || len(token.Permissions()) != 0 {
			t.Fatalf("got %q, %s, %v, %v", token.Subject(), token.Metadata(), token.ExpiresAt(), token.Permissions())
		}
		if budget, ok := token.Budget(); !ok || budget != (sdk.Budget{}) {
			t.Fatalf("got %+v", budget)
		}
	})
}

func TestATokenDoesNotKnowTheBudget(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		token, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key})
		wantAccepted(t, err)
		if _, ok := token.Budget(); ok {
			t.Fatal("it seems to")
		}
	})
	if _, ok := (*sdk.Token)(nil).Budget(); ok {
		t.Fatal("nor does nothing")
	}
}

func TestEveryCodeIsARefusal(t *testing.T) {
	const plain = "refused: API key not accepted"
	lacking := `{"valid":false,"code":"permission","key":{"id":"key_7","keyspace":"default","permissions":{"projects":["read"]}}}`
	for name, c := range map[string]struct {
		answer handler
		want   string
	}{
		"invalid":             {turnsDown("invalid"), plain},
		"unknown":             {turnsDown("unknown"), plain},
		"expired":             {turnsDown("expired"), plain},
		"one yet to come":     {turnsDown("quarantined"), plain},
		"audience":            {turnsDown("audience"), `refused: forbidden for audience "https://billing.example.com"`},
		"permission":          {says(200, lacking), "refused: forbidden, needs projects:write"},
		"permission, no more": {turnsDown("permission"), "refused: forbidden, needs projects:read projects:write"},
		"spent":               {turnsDown("spent"), "refused: spent"},
		"spent for a while":   {turnsDown("spent", "Retry-After", "7"), "refused: spent, retry in 7s"},
		"rate limited":        {says(200, `{"valid":false,"code":"rate_limited","key":null,"retry_after_ms":1500}`), "refused: rate_limited, retry in 1.5s"},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(c.answer)
				_, err := d.ask(t, sdk.VerifyRequest{Permissions: sdk.Permissions{"projects": {"read", "write"}}})
				wantRefused(t, err)
				if err.Error() != c.want {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				d.wantExchanges(t, 1)
			})
		})
	}
}

func TestWhatDecidesNothingOnlineIsNoWordAboutTheKey(t *testing.T) {
	for name, answer := range map[string]handler{
		"not JSON":                     says(200, "ok"),
		"an empty object":              says(200, "{}"),
		"neither valid nor why":        says(200, `{"valid":false}`),
		"valid, with a reason":         goodAnswer(map[string]any{"code": "revoked"}),
		"not valid, without one":       goodAnswer(map[string]any{"valid": false}),
		"valid, and no key":            goodAnswer(map[string]any{"key": nil}),
		"valid, and a key of no name":  goodAnswer(map[string]any{"key": map[string]any{"id": ""}}),
		"for another audience":         goodAnswer(map[string]any{"audience": "https://orders.example.com"}),
		"for no audience":              goodAnswer(map[string]any{"audience": nil}),
		"a member twice":               says(200, `{"valid":false,"code":"invalid","valid":false}`),
		"something after the end":      says(200, `{"valid":false,"code":"invalid"}{}`),
		"a number where a text is due": says(200, `{"valid":false,"code":1}`),
		"endless":                      endless,
		"a redirect":                   says(307, "", "Location", "https://elsewhere.example.com/"),
		"a page by a proxy":            says(400, "<html>"),
		"not found":                    says(404, ""),
		"422 for another reason":       says(422, `{"title":"no","status":422}`),
		"429 of this client":           says(429, `{"title":"no","status":429}`, "Retry-After", "7"),
		"500":                          says(500, ""),
		"503 by a proxy":               says(503, "<html>"),
		"an unknown outcome":           says(503, `{"title":"no","status":503,"reason":"outcome_unknown"}`),
		"a cut connection":             cut,
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				wantAccepted(t, d.verify(t))
				d.exchanges.set(answer)
				_, err := d.ask(t, sdk.VerifyRequest{})
				wantUnavailable(t, err)
				if strings.Contains(err.Error(), d.key) || strings.Contains(err.Error(), sdktest.ClientSecret) {
					t.Fatal("the error holds a secret")
				}
				wantAccepted(t, d.verify(t))
				d.wantExchanges(t, 2) // never repeated unasked
			})
		})
	}
}

func TestAnAnswerAboutAnotherKeyspaceIsNone(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(goodAnswer(nil))
		_, err := d.ask(t, sdk.VerifyRequest{Keyspace: "secret"})
		wantUnavailable(t, err)
		_, err = d.ask(t, sdk.VerifyRequest{Keyspace: "default"})
		wantAccepted(t, err)
	})
}

func TestWhatTheIssuerGrantsIsCheckedAgain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(goodAnswer(nil))
		_, err := d.ask(t, sdk.VerifyRequest{Permissions: sdk.Permissions{"projects": {"delete"}}})
		var forbidden *sdk.ForbiddenError
		if !errors.As(err, &forbidden) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestARightThatOurClientLacksIsNoRefusedKey(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(says(403, `{"title":"Forbidden","status":403}`))
		for range 2 {
			_, err := d.ask(t, sdk.VerifyRequest{})
			wantUnavailable(t, err)
			if !strings.Contains(err.Error(), "keys:verify") {
				t.Fatalf("got %v", err)
			}
		}
		d.exchanges.set(served(d))
		wantAccepted(t, d.verify(t)) // who exchanges needs no such right
		_, err := d.ask(t, sdk.VerifyRequest{})
		wantAccepted(t, err) // given it, at once
	})
}

func TestAnOnlineCallIsPutAsTheIssuerReadsIt(t *testing.T) {
	for name, c := range map[string]struct {
		req          sdk.VerifyRequest
		body, header string
	}{
		"as it comes":         {sdk.VerifyRequest{}, `{"key":"ck_<&>","audience":"https://billing.example.com"}`, ""},
		"of a keyspace":       {sdk.VerifyRequest{Keyspace: "secret"}, `{"key":"ck_<&>","keyspace":"secret","audience":"https://billing.example.com"}`, ""},
		"asking permissions":  {sdk.VerifyRequest{Permissions: sdk.Permissions{"a": {"b"}}}, `{"key":"ck_<&>","audience":"https://billing.example.com","permissions":{"a":["b"]}}`, ""},
		"asking none of them": {sdk.VerifyRequest{Permissions: sdk.Permissions{}}, `{"key":"ck_<&>","audience":"https://billing.example.com"}`, ""},
		"of cost 1":           {sdk.VerifyRequest{Cost: 1}, `{"key":"ck_<&>","audience":"https://billing.example.com"}`, ""},
		"of cost 7":           {sdk.VerifyRequest{Cost: 7}, `{"key":"ck_<&>","audience":"https://billing.example.com","cost":7}`, ""},
		"a peek":              {sdk.VerifyRequest{Peek: true}, `{"key":"ck_<&>","audience":"https://billing.example.com","cost":0}`, ""},
		"under a name":        {sdk.VerifyRequest{IdempotencyKey: `a "b" \c`}, `{"key":"ck_<&>","audience":"https://billing.example.com"}`, `"a \"b\" \\c"`},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.key = "ck_<&>"
				var path, body string
				var header http.Header
				d.exchanges.set(func(r *http.Request) (*http.Response, error) {
					sent, err := io.ReadAll(r.Body)
					path, body, header = r.URL.Path, string(sent), r.Header
					if err != nil {
						return nil, err
					}
					return turnsDown("invalid")(r)
				})
				_, err := d.ask(t, c.req)
				wantRefused(t, err)
				if path != "/v1/keys/verify" || strings.TrimSpace(body) != c.body {
					t.Errorf("%s got %s", path, body)
				}
				if got := header.Get("Idempotency-Key"); got != c.header || header.Get("Content-Type") != "application/json" {
					t.Errorf("got %v", header)
				}
			})
		})
	}
}
