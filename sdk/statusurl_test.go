package sdk_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/cambio-auth/cambio/sdk"
)

// Over real connections: the issuer's own address answers nobody.
func TestStatusListsAreFetchedFromWhereTheyAreConfigured(t *testing.T) {
	t.Parallel()
	iss := start(t)
	iss.TrackStatus(ttl)
	good, bad := iss.Token(billing), iss.Token(billing)
	iss.Revoke(bad)
	var lists atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cambio/statuslists/1" {
			lists.Add(1)
		}
		http.StripPrefix("/cambio", iss).ServeHTTP(w, r)
	}))
	t.Cleanup(inside.Close)
	iss.Close()

	config := iss.CheckerConfig(billing)
	config.JWKSURL = inside.URL + "/cambio/.well-known/jwks.json"
	wantUnavailable(t, check(t, newChecker(t, config), good))

	for _, url := range []string{inside.URL + "/cambio/statuslists", inside.URL + "/cambio/statuslists/"} {
		config.StatusListURL = url
		checker := newChecker(t, config)
		wantAccepted(t, check(t, checker, good))
		wantBecause(t, check(t, checker, bad), "revoked", bad)
	}
	if n := lists.Load(); n != 2 {
		t.Fatalf("%d lists fetched", n)
	}
}

func TestAStatusListURLIsAsTrustworthyAsTheIssuers(t *testing.T) {
	iss := start(t)
	for _, url := range []string{"http://issuer.example.com/statuslists", "/statuslists", "https://issuer.example.com/statuslists?x=1"} {
		config := iss.CheckerConfig(billing)
		config.StatusListURL = url
		if _, err := sdk.NewChecker(config); err == nil {
			t.Errorf("%s is taken", url)
		}
	}
}
