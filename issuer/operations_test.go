package issuer_test

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/sdk"
)

// states are those of a store's keys, in the order of their generations.
func states(t *testing.T, store issuer.KeyStore) string {
	t.Helper()
	keys, err := issuer.Keys(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, k := range keys {
		all = append(all, string(k.State))
	}
	return strings.Join(all, " ")
}

func wantStates(t *testing.T, store issuer.KeyStore, want string) {
	t.Helper()
	if got := states(t, store); got != want {
		t.Fatalf("keys are %s, want %s", got, want)
	}
}

func TestAKeyThatIsRotatedEarlySignsOnceEveryCacheHoldsIt(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r := startReplicas(t, 2, issuer.KeyringConfig{Refresh: time.Minute})
		defer r.close()
		if err := issuer.Rotate(t.Context(), r.store, issuer.Rotation{}); err != nil {
			t.Fatal(err)
		}
		wantStates(t, r.store, "active pending")
		keys, _ := issuer.Keys(t.Context(), r.store)
		if early := keys[1].ActivatesAt.Sub(keys[1].CreatedAt); early != issuer.Lead {
			t.Fatalf("it signs %s after it was made, want %s", early, issuer.Lead)
		}
		checker := r.checker()
		for range 40 { // no token is refused meanwhile
			raw := r.issue(0, "")
			if _, err := checker.Check(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		wantStates(t, r.store, "removed active pending")
		if err := issuer.Rotate(t.Context(), r.store, issuer.Rotation{}); err != nil { // it waited long enough
			t.Fatal(err)
		}
		wantStates(t, r.store, "removed retiring active")
		time.Sleep(time.Minute)
		synctest.Wait()
		wantStates(t, r.store, "removed retiring active pending")
	})
}

func TestInAnEmergencyTheOldKeyIsGoneAtOnceAndItsTokensDieWithTheNextRefresh(t *testing.T) {
	for name, fresh := range map[string]bool{"for the key that waits": false, "for a fresh one": true} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				r := startReplicas(t, 3, issuer.KeyringConfig{})
				defer r.close()
				checker := r.checker()
				old := r.issue(0, "")
				if _, err := checker.Check(t.Context(), old); err != nil {
					t.Fatal(err)
				}
				how := issuer.Rotation{Emergency: true, Fresh: fresh, MasterKey: r.cfg.MasterKey}
				if err := issuer.Rotate(t.Context(), r.store, how); err != nil {
					t.Fatal(err)
				}
				if fresh {
					wantStates(t, r.store, "removed removed active")
				} else {
					wantStates(t, r.store, "removed active")
				}
				time.Sleep(time.Second + time.Millisecond) // every replica has looked
				synctest.Wait()
				var l lazy
				for i, ring := range r.rings {
					if err := l.check(ring, old); err == nil {
						t.Error("the old key is still published")
					}
					l = lazy{}
					if err := l.check(ring, r.issue(i, "")); err != nil {
						t.Error(err)
					}
				}
				young := r.issue(1, "")
				if _, err := checker.Check(t.Context(), young); err != nil {
					t.Errorf("a token by the new key: %v", err)
				}
				time.Sleep(issuer.JWKSMaxAge)
				_, _ = checker.Check(t.Context(), r.issue(2, "")) // has the set refreshed
				synctest.Wait()
				if _, err := checker.Check(t.Context(), old); !errors.Is(err, sdk.ErrRefused) {
					t.Errorf("a token by the old key: %v", err)
				}
			})
		})
	}
}

func TestWhatWasGrantedJustBeforeAnEmergencyIsSignedByTheKeyAfterIt(t *testing.T) {
	store := newStore(t)
	ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: store, MasterKey: issuer.NewMasterKey()})
	if err != nil {
		t.Fatal(err)
	}
	g := grant()
	g.IssuedAt = time.Now()
	if err := errors.Join(issuer.Rotate(t.Context(), store, issuer.Rotation{Emergency: true}), ring.Refresh(t.Context())); err != nil {
		t.Fatal(err)
	}
	token, err := newIssuer(t, ring).Issue(g)
	keys, _ := issuer.Keys(t.Context(), store)
	if err != nil || token.KID != keys[1].KID {
		t.Errorf("signed by %s, %v, want %s", token.KID, err, keys[1].KID)
	}
}

func TestAFreshKeyNeedsTheMasterKeyOfTheStore(t *testing.T) {
	store := newStore(t)
	if _, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: store, MasterKey: issuer.NewMasterKey()}); err != nil {
		t.Fatal(err)
	}
	err := issuer.Rotate(t.Context(), store, issuer.Rotation{Emergency: true, Fresh: true, MasterKey: issuer.NewMasterKey()})
	if !errors.Is(err, issuer.ErrSealed) {
		t.Errorf("%v", err)
	}
	wantStates(t, store, "active pending")
}

func TestAKeyIsRevokedByItsKID(t *testing.T) {
	master, store := issuer.NewMasterKey(), newStore(t)
	ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: store, MasterKey: master})
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := issuer.Keys(t.Context(), store)
	if err := issuer.Revoke(t.Context(), store, "nobody"); !errors.Is(err, issuer.ErrUnknownKID) {
		t.Errorf("an unknown kid: %v", err)
	}
	if err := issuer.Revoke(t.Context(), store, keys[0].KID); err != nil {
		t.Fatal(err)
	}
	wantStates(t, store, "removed active")
	if err := issuer.Revoke(t.Context(), store, keys[1].KID); !errors.Is(err, issuer.ErrNoPending) {
		t.Errorf("the last key that can sign: %v", err)
	}
	if err := ring.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantStates(t, store, "removed active pending")
	keys, _ = issuer.Keys(t.Context(), store)
	if err := issuer.Revoke(t.Context(), store, keys[2].KID); err != nil { // it waits
		t.Fatal(err)
	}
	wantStates(t, store, "removed active removed")
	if err := errors.Join(ring.Refresh(t.Context()), issuer.Revoke(t.Context(), store, keys[0].KID)); err != nil { // again
		t.Error(err)
	}
	wantStates(t, store, "removed active removed pending")
}

func TestResealingLosesNoKey(t *testing.T) {
	old, young, store := issuer.NewMasterKey(), issuer.NewMasterKey(), newStore(t)
	open := func(m issuer.MasterKey) (*issuer.Keyring, error) {
		return issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: store, MasterKey: m, Algorithms: issuer.Algorithms()})
	}
	running, err := open(old)
	if err != nil {
		t.Fatal(err)
	}
	before := running.JWKS().Body
	if _, err := issuer.Reseal(t.Context(), store, young, old); !errors.Is(err, issuer.ErrSealed) {
		t.Errorf("with a wrong key: %v", err)
	}
	if n, err := issuer.Reseal(t.Context(), store, old, young); err != nil || n != 6 {
		t.Fatalf("%d keys, %v", n, err)
	}
	if _, err := open(old); !errors.Is(err, issuer.ErrSealed) {
		t.Errorf("the old master key: %v", err)
	}
	after, err := open(young)
	if err != nil || !bytes.Equal(after.JWKS().Body, before) {
		t.Errorf("the new master key: %v", err)
	}
	if err := running.Refresh(t.Context()); err != nil || running.JWKS().ETag != after.JWKS().ETag {
		t.Errorf("a server that runs with the old one: %v", err)
	}
	// What it may not do is seal a key that nobody else can open.
	keys, _ := issuer.Keys(t.Context(), store)
	if err := issuer.Revoke(t.Context(), store, keys[1].KID); err != nil {
		t.Fatal(err)
	}
	if err := running.Refresh(t.Context()); !errors.Is(err, issuer.ErrSealed) {
		t.Errorf("it made a key: %v", err)
	}
	if err := after.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEveryAlgorithmSignsWhatOthersVerify(t *testing.T) {
	ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{
		Store: newStore(t), MasterKey: issuer.NewMasterKey(), Algorithms: []string{issuer.ES256, issuer.RS256, issuer.EdDSA},
	})
	if err != nil {
		t.Fatal(err)
	}
	iss := newIssuer(t, ring)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(ring.JWKS().Body, &set); err != nil || len(set.Keys) != 6 {
		t.Fatalf("%d keys, %v", len(set.Keys), err)
	}
	for algorithm, want := range map[string]string{"": "ES256", "ES256": "ES256", "RS256": "RS256", "EdDSA": "EdDSA"} {
		g := grant()
		g.Algorithm = algorithm
		for range 64 { // half of all ES256 signatures have a high s
			token, err := iss.Issue(g)
			if err != nil {
				t.Fatal(err)
			}
			jws, err := jose.ParseSignedCompact(token.Value, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(want)})
			if err != nil {
				t.Fatalf("%s: %v", algorithm, err)
			}
			key := set.Key(token.KID)[0]
			if _, err := jws.Verify(key); err != nil || key.Algorithm != want || key.Use != "sig" || !key.IsPublic() {
				t.Fatalf("%s: %v", algorithm, err)
			}
			if public, ok := key.Key.(*ecdsa.PublicKey); ok && highS(t, public, token.Value) {
				t.Fatal("a high s: the token has a second spelling")
			}
			if want == "RS256" {
				break // dear to sign
			}
		}
	}
}

func highS(t *testing.T, key *ecdsa.PublicKey, token string) bool {
	t.Helper()
	signature, err := base64.RawURLEncoding.DecodeString(token[strings.LastIndexByte(token, '.')+1:])
	if err != nil || len(signature) != 64 {
		t.Fatalf("a signature of %d bytes, %v", len(signature), err)
	}
	return new(big.Int).SetBytes(signature[32:]).Cmp(new(big.Int).Rsh(key.Params().N, 1)) > 0
}
