package issuer_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/issuer"
)

var noon = time.Date(2026, time.March, 10, 12, 0, 0, 500, time.UTC)

func newStore(t *testing.T) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newKeyring(t *testing.T) *issuer.Keyring {
	t.Helper()
	ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: newStore(t), MasterKey: issuer.NewMasterKey()})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newIssuer(t *testing.T, ring *issuer.Keyring) *issuer.Issuer {
	t.Helper()
	i, err := issuer.New(issuer.Config{Issuer: "https://keys.example.com", Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func grant() issuer.Grant {
	return issuer.Grant{
		Subject:     "user_42",
		Audience:    "https://orders.example.com",
		ClientID:    "orders",
		KeyID:       "key_1",
		Keyspace:    "default",
		Permissions: map[string][]string{"projects": {"read", "write"}},
		IssuedAt:    noon,
		Status:      issuer.StatusRef{List: 3, Index: 70000, Generation: 2},
	}
}

// verified checks the token as any JOSE library would, with the published set,
// and returns its header and claims.
func verified(t testing.TB, ring *issuer.Keyring, token string) (map[string]any, map[string]any) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(ring.JWKS().Body, &set); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	keys := set.Key(jws.Signatures[0].Protected.KeyID)
	if len(keys) != 1 {
		t.Fatalf("%d keys of that kid", len(keys))
	}
	payload, err := jws.Verify(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	rawHeader, err := base64.RawURLEncoding.DecodeString(token[:strings.Index(token, ".")])
	if err != nil {
		t.Fatal(err)
	}
	var header, claims map[string]any
	if err := errors.Join(json.Unmarshal(rawHeader, &header), json.Unmarshal(payload, &claims)); err != nil {
		t.Fatal(err)
	}
	return header, claims
}

func TestATokenIsAnAccessTokenOfRFC9068(t *testing.T) {
	ring := newKeyring(t)
	token, err := newIssuer(t, ring).Issue(grant())
	if err != nil {
		t.Fatal(err)
	}
	header, claims := verified(t, ring, token.Value)
	if diff := cmp.Diff(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": token.KID}, header); diff != "" {
		t.Errorf("header: alg, kid, typ and nothing else\n%s", diff)
	}
	want := map[string]any{
		"iss": "https://keys.example.com", "sub": "user_42", "aud": "https://orders.example.com",
		"client_id": "orders", "iat": float64(noon.Unix()), "exp": float64(noon.Unix() + 300), "jti": token.ID,
		"scope": "projects:read projects:write", "permissions": map[string]any{"projects": []any{"read", "write"}},
		"key_id": "key_1", "keyspace": "default",
		"status": map[string]any{"status_list": map[string]any{"idx": float64(70000), "uri": "https://keys.example.com/statuslists/3.2"}},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims\n%s", diff)
	}
	if token.ExpiresIn != 5*time.Minute || token.Scope != "projects:read projects:write" {
		t.Errorf("expires in %s, scope %q", token.ExpiresIn, token.Scope)
	}
}

func TestAGrantWithoutStatusIsNotSigned(t *testing.T) {
	for _, ref := range []issuer.StatusRef{{}, {Index: 1}, {List: 1, Index: -1}, {List: 1, Generation: -1}} {
		g := grant()
		g.Status = ref
		if _, err := newIssuer(t, newKeyring(t)).Issue(g); err == nil {
			t.Errorf("%v was signed", ref)
		}
	}
}

func TestLifetime(t *testing.T) {
	tests := map[string]struct {
		change func(*issuer.Grant)
		want   time.Duration
	}{
		"is five minutes by default":            {func(*issuer.Grant) {}, 5 * time.Minute},
		"is the keyspace's, if that is shorter": {func(g *issuer.Grant) { g.Lifetime = time.Minute }, time.Minute},
		"is never longer than the server's":     {func(g *issuer.Grant) { g.Lifetime = time.Hour }, 5 * time.Minute},
		"ends with the key":                     {func(g *issuer.Grant) { g.NotAfter = noon.Truncate(time.Second).Add(7 * time.Second) }, 7 * time.Second},
		"ends with the key, rounded down":       {func(g *issuer.Grant) { g.NotAfter = noon.Truncate(time.Second).Add(7999 * time.Millisecond) }, 7 * time.Second},
		"is a second at least":                  {func(g *issuer.Grant) { g.NotAfter = noon.Add(1) }, time.Second},
	}
	i := newIssuer(t, newKeyring(t))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := grant()
			test.change(&g)
			token, err := i.Issue(g)
			if err != nil || token.ExpiresIn != test.want {
				t.Errorf("%s, %v, want %s", token.ExpiresIn, err, test.want)
			}
		})
	}
}

func TestAGrantThatIsSignedAgain(t *testing.T) {
	ring := newKeyring(t)
	i := newIssuer(t, ring)
	g := grant()
	first, err := i.Issue(g)
	if err != nil {
		t.Fatal(err)
	}
	g.ID, g.SignedAt = first.ID, noon.Add(299*time.Second)
	again, err := i.Issue(g)
	if err != nil || again.ID != first.ID || again.ExpiresIn != time.Second {
		t.Fatalf("%+v, %v", again, err)
	}
	_, was := verified(t, ring, first.Value)
	_, is := verified(t, ring, again.Value)
	if diff := cmp.Diff(was, is); diff != "" {
		t.Errorf("other claims than the first:\n%s", diff)
	}
	expires := i.Expires(g)
	if float64(expires.Unix()) != was["exp"] {
		t.Errorf("expires at %v, the token at %v", expires, was["exp"])
	}
	g.SignedAt = expires
	if _, err := i.Issue(g); !errors.Is(err, issuer.ErrExpired) {
		t.Errorf("at its expiry: %v", err)
	}
	g.SignedAt = expires.Add(-1)
	if _, err := i.Issue(g); err != nil {
		t.Errorf("an instant before: %v", err)
	}
}

func TestClaimsCarryWhatWasGranted(t *testing.T) {
	ring := newKeyring(t)
	i := newIssuer(t, ring)
	t.Run("permissions that no scope can name, lossless", func(t *testing.T) {
		g := grant()
		g.Permissions = map[string][]string{"a:b": {"c d"}, "files": {"read"}, "<&>": {"ö"}}
		token, err := i.Issue(g)
		if err != nil {
			t.Fatal(err)
		}
		_, claims := verified(t, ring, token.Value)
		want := map[string]any{"a:b": []any{"c d"}, "files": []any{"read"}, "<&>": []any{"ö"}}
		if diff := cmp.Diff(want, claims["permissions"]); diff != "" {
			t.Error(diff)
		}
		if claims["scope"] != "files:read" {
			t.Errorf("scope %q", claims["scope"])
		}
	})
	t.Run("none as an empty map, and no scope", func(t *testing.T) {
		g := grant()
		g.Permissions = nil
		token, err := i.Issue(g)
		if err != nil {
			t.Fatal(err)
		}
		_, claims := verified(t, ring, token.Value)
		if diff := cmp.Diff(map[string]any{}, claims["permissions"]); diff != "" {
			t.Error(diff)
		}
		if _, there := claims["scope"]; there {
			t.Error("an empty scope is no scope (RFC 6749 §3.3)")
		}
	})
	t.Run("metadata as it is", func(t *testing.T) {
		g := grant()
		g.Metadata = json.RawMessage(`{"plan":"pro","n":12345678901234567890}`)
		token, err := i.Issue(g)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Value, ".")[1])
		if err != nil || !bytes.Contains(payload, g.Metadata) {
			t.Errorf("%s, %v", payload, err)
		}
	})
	t.Run("and an id of 128 bits, new each time", func(t *testing.T) {
		a, errA := i.Issue(grant())
		b, errB := i.Issue(grant())
		if errA != nil || errB != nil || a.ID == b.ID || len(a.ID) != 22 {
			t.Errorf("%q %q", a.ID, b.ID)
		}
	})
}

// fixed is a store that holds one key and takes no other.
type fixed struct{ key issuer.SealedKey }

func TestJWKS(t *testing.T) {
	ring := newKeyring(t)
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(ring.JWKS().Body, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys, want one that signs and one that waits", len(set.Keys))
	}
	k := set.Keys[0]
	want := map[string]string{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": k["kid"], "x": k["x"]}
	if diff := cmp.Diff(want, k); diff != "" {
		t.Errorf("public members and nothing else:\n%s", diff)
	}
	// RFC 7638 §3, from scratch: the required members, sorted, without space.
	h := crypto.SHA256.New()
	fmt.Fprintf(h, `{"crv":"Ed25519","kty":"OKP","x":"%s"}`, k["x"])
	if kid := base64.RawURLEncoding.EncodeToString(h.Sum(nil)); kid != k["kid"] {
		t.Errorf("kid %s, thumbprint %s", k["kid"], kid)
	}
	if etag := ring.JWKS().ETag; len(etag) < 10 || etag[0] != '"' || etag[len(etag)-1] != '"' {
		t.Errorf("ETag %s is not a strong one", etag)
	}
}

func (f fixed) SigningKeys(context.Context) ([]issuer.SealedKey, time.Time, error) {
	return []issuer.SealedKey{f.key}, f.key.CreatedAt, nil
}

func (f fixed) ChangeSigningKeys(context.Context, func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error)) error {
	return nil
}
