package issuer_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/store/sqlite"
	"github.com/cambio-auth/cambio/issuer"
)

func TestKeyring(t *testing.T) {
	master := issuer.NewMasterKey()
	open := func(store issuer.KeyStore, m issuer.MasterKey) (*issuer.Keyring, error) {
		return issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: store, MasterKey: m})
	}
	t.Run("makes the first key once, whoever starts", func(t *testing.T) {
		store := newStore(t)
		bodies := make(chan string, 8)
		for range cap(bodies) {
			go func() {
				ring, err := open(store, master)
				if err != nil {
					bodies <- err.Error()
					return
				}
				bodies <- string(ring.JWKS().Body)
			}()
		}
		first := <-bodies
		for range cap(bodies) - 1 {
			if b := <-bodies; b != first {
				t.Errorf("%s and %s", first, b)
			}
		}
		if keys, _, err := store.SigningKeys(t.Context()); err != nil || len(keys) != 2 { // one signs, one waits
			t.Errorf("%d keys, %v", len(keys), err)
		}
	})
	t.Run("is not opened by another master key, and loses nothing by the attempt", func(t *testing.T) {
		store := newStore(t)
		before, err := open(store, master)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(store, issuer.NewMasterKey()); !errors.Is(err, issuer.ErrSealed) {
			t.Errorf("%v", err)
		}
		after, err := open(store, master)
		if err != nil || !bytes.Equal(before.JWKS().Body, after.JWKS().Body) {
			t.Errorf("%v", err)
		}
	})
	t.Run("needs a master key", func(t *testing.T) {
		if _, err := open(newStore(t), issuer.MasterKey{}); err == nil {
			t.Error("opened without one")
		}
	})
	t.Run("refuses a sealed key moved to another row", func(t *testing.T) {
		a, b := newStore(t), newStore(t)
		for _, s := range []*sqlite.Store{a, b} {
			if _, err := open(s, master); err != nil {
				t.Fatal(err)
			}
		}
		keyA, _, _ := a.SigningKeys(t.Context())
		keyB, _, _ := b.SigningKeys(t.Context())
		moved := keyA[0]
		moved.Sealed = keyB[0].Sealed
		c := newStore(t)
		if err := c.ChangeSigningKeys(t.Context(), func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error) {
			return []issuer.SealedKey{moved}, nil
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := open(c, master); !errors.Is(err, issuer.ErrSealed) {
			t.Errorf("%v", err)
		}
	})
	t.Run("refuses a changed bit of a sealed key", func(t *testing.T) {
		store := newStore(t)
		if _, err := open(store, master); err != nil {
			t.Fatal(err)
		}
		keys, _, _ := store.SigningKeys(t.Context())
		for i := range keys[0].Sealed {
			bad := keys[0]
			bad.Sealed = bytes.Clone(bad.Sealed)
			bad.Sealed[i] ^= 1
			if _, err := open(fixed{bad}, master); !errors.Is(err, issuer.ErrSealed) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	})
	t.Run("stores no private key in the clear", func(t *testing.T) {
		store := newStore(t)
		if _, err := open(store, master); err != nil {
			t.Fatal(err)
		}
		keys, _, _ := store.SigningKeys(t.Context())
		// The DER of an Ed25519 private key begins like this (RFC 8410 §7).
		if bytes.Contains(keys[0].Sealed, []byte{0x30, 0x2e, 0x02, 0x01, 0x00}) {
			t.Error("the sealed bytes hold a PKCS #8 header")
		}
	})
}

func TestConfigIsRefused(t *testing.T) {
	ring := newKeyring(t)
	for name, cfg := range map[string]issuer.Config{
		"without an issuer":       {Keyring: ring},
		"without a keyring":       {Issuer: "https://keys.example.com"},
		"with an hour's lifetime": {Issuer: "https://keys.example.com", Keyring: ring, Lifetime: time.Hour},
		"with a negative one":     {Issuer: "https://keys.example.com", Keyring: ring, Lifetime: -1},
	} {
		if _, err := issuer.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAMasterKeyDoesNotPrint(t *testing.T) {
	m := issuer.NewMasterKey()
	type holder struct{ m issuer.MasterKey }
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "key", m, "holder", holder{m})
	out := fmt.Sprintf("%v %+v %#v %s %x %v %+v %#v", m, m, m, m, m, holder{m}, holder{m}, holder{m}) + logged.String()
	if strings.Contains(out, m.Reveal()) || !strings.Contains(out, "[redacted]") {
		t.Error(out)
	}
	again, err := issuer.ParseMasterKey(" " + m.Reveal() + "\n")
	if err != nil || again.Reveal() != m.Reveal() {
		t.Errorf("read back: %v", err)
	}
	for _, bad := range []string{"", "AAAA", m.Reveal() + "AAAA", strings.Repeat("!", 44)} {
		if _, err := issuer.ParseMasterKey(bad); !errors.Is(err, issuer.ErrMasterKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
