package httpapi

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
)

// Whatever is read as an assertion has one spelling, keeps every bound, and proves
// nobody: no seed is signed.
func FuzzAssertion(f *testing.F) {
	const us = "https://keys.example.com"
	now := time.Unix(1_800_000_000, 0)
	for _, seed := range [][2]string{
		{`{"alg":"EdDSA","kid":"1","typ":"JWT"}`, `{"iss":"a","sub":"a","aud":"` + us + `","exp":1800000060,"iat":1800000000,"jti":"1"}`},
		{`{"alg":"RS256"}`, `{"iss":"a","sub":"a","aud":["` + us + `"],"exp":1800000060,"nbf":0,"jti":"1"}`},
		{`{"alg":"none"}`, `{}`}, {`{"alg":"HS256","alg":"EdDSA"}`, `[]`}, {`{"ALG":"EdDSA"}`, `{"exp":1e9}`},
		{`{"alg":"ES256","crit":["b64"],"b64":false}`, "{\"iss\":\"\\ud800\"}"},
	} {
		for _, signature := range []string{strings.Repeat("s", 64), ""} {
			f.Add(strings.Join([]string{b64(seed[0]), b64(seed[1]), b64(signature)}, "."))
		}
	}
	f.Add("")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := readAssertion(text, []string{us}, now)
		if err != nil {
			if !errors.Is(err, exchange.ErrClient) {
				t.Errorf("%v", err)
			}
			return
		}
		again := string(a.Message) + "." + base64.RawURLEncoding.EncodeToString(a.Signature)
		ahead := time.Unix(a.expires, 0).Sub(now)
		if again != text || len(text) > maxAssertion {
			t.Errorf("%q is also spelled %q", text, again)
		}
		if a.clientID == "" || a.id == "" || len(a.id) > maxAssertID || len(a.KID) > client.MaxKID || ahead <= 0 || ahead > maxAhead+maxSkew {
			t.Errorf("%+v", a)
		}
		if a.Proves(nil) || a.Proves(&client.Client{ID: a.clientID}) {
			t.Errorf("%q proves somebody", text)
		}
	})
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
