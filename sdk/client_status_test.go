package sdk_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// clientWithStatus is withStatus for a Client and a key.
func clientWithStatus(t *testing.T, test func(t *testing.T, iss *sdktest.Issuer, l *lists, verify func() error, key string)) {
	t.Helper()
	iss := start(t)
	iss.TrackStatus(ttl)
	key := iss.AddKey(sdktest.Key{})
	synctest.Test(t, func(t *testing.T) {
		l := &lists{wire: newWire(served(iss)), handle: served(iss)}
		config := iss.ClientConfig(billing)
		config.HTTPClient = &http.Client{Transport: l}
		client := newClient(t, config)
		test(t, iss, l, func() error {
			_, err := client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key})
			return err
		}, key)
		time.Sleep(time.Minute) // whatever still flies lands
	})
}

func TestAKeyRevokedIsRefusedThoughItsTokenIsKept(t *testing.T) {
	clientWithStatus(t, func(t *testing.T, iss *sdktest.Issuer, l *lists, verify func() error, key string) {
		for range 3 {
			wantAccepted(t, verify())
		}
		if iss.Exchanges() != 1 || l.count() != 1 {
			t.Fatalf("%d exchanges, %d lists", iss.Exchanges(), l.count())
		}
		iss.Revoke(key)
		iss.RemoveKey(key)
		time.Sleep(ttl)
		for range 3 {
			wantRefused(t, verify())
		}
		if iss.Exchanges() != 2 { // the issuer is asked what became of it, once
			t.Fatalf("%d exchanges", iss.Exchanges())
		}
	})
}

func TestAKeyWhoseTokensWereVoidedIsExchangedAnew(t *testing.T) {
	clientWithStatus(t, func(t *testing.T, iss *sdktest.Issuer, _ *lists, verify func() error, key string) {
		wantAccepted(t, verify())
		iss.Void(key)
		time.Sleep(ttl)
		wantAccepted(t, verify())
		wantAccepted(t, verify())
		if iss.Exchanges() != 2 {
			t.Fatalf("%d exchanges", iss.Exchanges())
		}
	})
}

func TestAKeyWhoseStatusCannotBeHadIsUnavailableAndNotCharged(t *testing.T) {
	clientWithStatus(t, func(t *testing.T, iss *sdktest.Issuer, l *lists, verify func() error, _ string) {
		l.serve(cut)
		wantAccepted(t, verify()) // the exchange itself has seen the key
		for range 3 {
			err := verify()
			wantUnavailable(t, err)
			if errors.Is(err, sdk.ErrRefused) {
				t.Fatal(err)
			}
		}
		l.serve(served(iss))
		time.Sleep(time.Second)
		wantAccepted(t, verify())
		if iss.Exchanges() != 1 {
			t.Fatalf("%d exchanges", iss.Exchanges())
		}
	})
}
