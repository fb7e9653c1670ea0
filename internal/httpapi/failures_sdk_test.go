package httpapi_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/sdk"
)

// unavailable is how long the sdk was told to wait.
func unavailable(t *testing.T, err error) time.Duration {
	t.Helper()
	var away *sdk.UnavailableError
	if !errors.As(err, &away) || !errors.Is(err, sdk.ErrUnavailable) || errors.Is(err, sdk.ErrRefused) {
		t.Fatalf("error %v", err)
	}
	return away.RetryAfter
}

func TestTheSDKTakesTooManyAttemptsForNoWordAboutTheKey(t *testing.T) {
	for name, isOnline := range map[string]bool{"exchanged": false, "online": true} {
		t.Run(name, func(t *testing.T) {
			w := bounded(t, "4/1m")
			o := w.online(w.server.Public(), client.KeysVerify, client.TokensExchange)
			_, good := w.newKey(manage.NewKey{})
			verify := func(key string) error {
				_, err := o.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key, Online: isOnline})
				return err
			}
			for i := range 4 {
				if err := verify(fmt.Sprintf("ck_bad_%d", i)); !errors.Is(err, sdk.ErrRefused) {
					t.Fatalf("error %v", err)
				}
			}
			_, late := w.newKey(manage.NewKey{})
			for range 2 {
				if wait := unavailable(t, verify("ck_bad_too")); wait != 30*time.Second {
					t.Errorf("wait %v", wait)
				}
			}
			for _, key := range []string{good, late} { // no other key has to wait
				if err := verify(key); err != nil {
					t.Errorf("a good key: %v", err)
				}
			}
			w.later(30 * time.Second)
			if err := verify("ck_bad_too"); !errors.Is(err, sdk.ErrRefused) {
				t.Errorf("after the wait: %v", err)
			}
		})
	}
}

func TestTheSDKNeverRemembersTooManyAttemptsAsARefusal(t *testing.T) {
	w := bounded(t, "4/1m")
	o := w.online(w.server.Public(), client.KeysVerify, client.TokensExchange)
	id, key := w.newKey(manage.NewKey{})
	if _, err := w.manage.DisableKey(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		_, _ = o.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: fmt.Sprintf("ck_bad_%d", i)})
	}
	_, err := o.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key})
	unavailable(t, err)
	if _, err := w.manage.EnableKey(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.later(30 * time.Second)
	if _, err := o.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key}); err != nil {
		t.Errorf("a key that is good again: %v", err)
	}
}
