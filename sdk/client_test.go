package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// desk is a client in virtual time, whose exchanges can be answered otherwise
// than the issuer would.
type desk struct {
	*sdktest.Issuer
	client    *sdk.Client
	exchanges *wire // answers as the issuer does, until set
	key       string
}

func (d *desk) verify(t *testing.T) error {
	t.Helper()
	_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key})
	return err
}

// fresh verifies by an exchange that starts no earlier than now, which is a
// moment later than whatever was before.
func (d *desk) fresh(t *testing.T) error {
	t.Helper()
	time.Sleep(time.Millisecond)
	return d.noOlderThan(t, 1)
}

func (d *desk) noOlderThan(t *testing.T, age time.Duration) error {
	t.Helper()
	_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, MaxAge: age})
	return err
}

func (d *desk) online(t *testing.T) error {
	t.Helper()
	_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, Online: true})
	return err
}

// in verifies online that the key is of a keyspace.
func (d *desk) in(t *testing.T, keyspace string) error {
	t.Helper()
	_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, Keyspace: keyspace, Online: true})
	return err
}

func (d *desk) wantExchanges(t *testing.T, n int) {
	t.Helper()
	synctest.Wait()
	if got := d.exchanges.count(); got != n {
		t.Fatalf("%d exchanges, want %d", got, n)
	}
}

func atDesk(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Helper()
	atDeskWith(t, func(*sdk.ClientConfig) {}, test)
}

func atDeskWith(t *testing.T, change func(*sdk.ClientConfig), test func(t *testing.T, d *desk)) {
	t.Helper()
	iss := start(t)
	key := iss.AddKey(sdktest.Key{Permissions: sdk.Permissions{"projects": {"read"}}})
	synctest.Test(t, func(t *testing.T) {
		exchanges := newWire(served(iss))
		config := iss.ClientConfig(billing)
		config.HTTPClient = newWire(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				return exchanges.RoundTrip(r)
			}
			return served(iss)(r)
		}).client()
		change(&config)
		test(t, &desk{iss, newClient(t, config), exchanges, key})
		time.Sleep(time.Minute) // whatever still flies lands
	})
}

func TestAKeyIsExchangedOnceThenAnsweredLocally(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		for range 100 {
			wantAccepted(t, d.verify(t))
		}
		d.wantExchanges(t, 1)
	})
}

func TestCallersOfOneKeyShareOneExchange(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(after(200*time.Millisecond, served(d)))
		for _, err := range together(50, func(int) error { return d.verify(t) }) {
			wantAccepted(t, err)
		}
		d.wantExchanges(t, 1)
	})
}

func TestAnExchangeOutlivesTheCallerWhoStartedIt(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(after(time.Second, served(d)))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := d.client.VerifyAPIKey(ctx, sdk.VerifyRequest{Key: d.key})
		wantUnavailable(t, err)
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 1)
	})
}

func TestAnExchangeThatHangsIsGivenUpAfterFiveSeconds(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(hangs)
		began := time.Now()
		wantUnavailable(t, d.verify(t))
		if took := time.Since(began); took != 5*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

func TestTheExchangeSaysWhatTheStandardsAsk(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		var form url.Values
		d.exchanges.set(func(r *http.Request) (*http.Response, error) {
			if err := r.ParseForm(); err != nil {
				return nil, err
			}
			form = r.PostForm
			if r.URL.RawQuery != "" {
				return nil, errors.New("something in the query")
			}
			return served(d)(r)
		})
		_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{
			Key: d.key, Keyspace: "default", Permissions: sdk.Permissions{"projects": {"read"}},
		})
		wantAccepted(t, err)
		want := url.Values{
			"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token":      {d.key},
			"subject_token_type": {"urn:cambio:params:oauth:token-type:api-key"},
			"audience":           {billing},
			"keyspace":           {"default"},
		}
		if form.Encode() != want.Encode() {
			t.Fatalf("the form has %d members, want %d", len(form), len(want))
		}
	})
}

func TestIDAndSecretAreFormEncodedApart(t *testing.T) {
	iss := startAtNoon(t)
	w := newWire(oauthError(401, "invalid_client", ""))
	config := iss.ClientConfig(billing)
	config.ClientID, config.ClientSecret = "a:b c", sdk.NewSecret("s%:+é")
	config.HTTPClient = newWire(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			return w.RoundTrip(r)
		}
		return served(iss)(r)
	}).client()
	_, err := newClient(t, config).VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: "ck_1"})
	wantUnavailable(t, err)
	id, secret, _ := (&http.Request{Header: w.header(0)}).BasicAuth()
	if id != "a%3Ab+c" || secret != "s%25%3A%2B%C3%A9" {
		t.Fatalf("sent id %q", id)
	}
}

func TestPermissionsAreCheckedLocally(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		ask := func(p sdk.Permissions) error {
			_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, Permissions: p})
			return err
		}
		wantAccepted(t, ask(nil))
		wantAccepted(t, ask(sdk.Permissions{"projects": {"read"}}))
		err := ask(sdk.Permissions{"projects": {"read", "write"}, "constructor": {"x"}})
		wantRefused(t, err)
		var forbidden *sdk.ForbiddenError
		if !errors.As(err, &forbidden) || fmt.Sprint(forbidden.Needed) != "map[constructor:[x] projects:[write]]" {
			t.Fatalf("got %v", err)
		}
		if err = ask(sdk.Permissions{"projects": {}}); err == nil || errors.Is(err, sdk.ErrRefused) || errors.Is(err, sdk.ErrUnavailable) {
			t.Fatalf("a resource without actions: got %v", err)
		}
		wantRefused(t, ask(sdk.Permissions{"projects": {"*"}}))
		d.wantExchanges(t, 1)
	})
}

func TestKeyspacesAreExchangedApart(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		for range 2 {
			wantAccepted(t, d.verify(t))
			_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, Keyspace: "default"})
			wantAccepted(t, err)
			_, err = d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, Keyspace: "other"})
			wantRefused(t, err)
		}
		d.wantExchanges(t, 3)
	})
}

func TestWhatCannotBeAKeyIsRefusedLocally(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		for _, key := range []string{
			"", strings.Repeat("k", 513), "ck 1", "ck_1\n", "ck_é", "ck_\x00", "\tck_1", "ck_\x7f",
			d.Token(billing), d.Token("other"), "eyJhbGciOiJub25lIn0..", "eyJ.a.b.c.d", "eyJhbGciOiJub25lIn0=..x",
			"eyAiYWxnIjoibm9uZSJ9.e30.x", // { "alg"…
			"ewogImFsZyI6Im5vbmUifQ.e30.x", "IAkNCnt9.e30.x", "e30.e30.x", "e30.a.b.c.d", "ewo=.e30.",
		} {
			_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key})
			wantRefused(t, err)
		}
		d.wantExchanges(t, 0)
	})
}

func TestCheckSendsATokenToTheCheckerAndAKeyToTheExchange(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		_, err := d.client.Check(t.Context(), d.Token(billing, "a:b"))
		wantAccepted(t, err)
		for _, bad := range []string{d.Expired(billing), d.Forged(billing), d.Token("other"), d.Token(billing) + "."} {
			_, err = d.client.Check(t.Context(), bad)
			wantRefused(t, err)
		}
		d.wantExchanges(t, 0)
		_, err = d.client.Check(t.Context(), d.key)
		wantAccepted(t, err)
		_, err = d.client.Check(t.Context(), "ewogImFsZyI6Im5vbmUifQ.e30.x") // its header has white space
		wantRefused(t, err)
		d.wantExchanges(t, 1)
		for i, imported := range []string{"SG.two.dots-but-no-token", "eyJ.one-dot", "eyJwithout", "..", "W10.a.b", "ICAg.a.b", "{.a.b"} {
			_, err = d.client.Check(t.Context(), imported)
			wantRefused(t, err)
			d.wantExchanges(t, i+2)
		}
	})
}

func TestARefreshHappensOnlyIfTheKeyIsUsedInTheLastQuarter(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		time.Sleep(224 * time.Second) // of 300
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 1)
		time.Sleep(2 * time.Second)
		d.exchanges.set(after(time.Second, served(d)))
		began := time.Now()
		wantAccepted(t, d.verify(t))
		if time.Since(began) > 0 {
			t.Fatal("waited for the refresh")
		}
		d.wantExchanges(t, 2)
		time.Sleep(200 * time.Second)
		wantAccepted(t, d.verify(t)) // by the second token
		d.wantExchanges(t, 2)

		time.Sleep(10 * time.Minute) // unused in its last quarter: no charge
		d.wantExchanges(t, 2)
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 3)
	})
}

func TestAnOutageOfTheExchangeIsSurvivedUntilTheTokenEnds(t *testing.T) {
	for name, outage := range map[string]func(*http.Request) (*http.Response, error){
		"down": cut, "hanging": hangs, "500": says(500, "oops"),
		"unavailable":     oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "1"),
		"outcome unknown": oauthError(503, "temporarily_unavailable", "outcome_unknown"),
		"limited":         oauthError(429, "invalid_request", "rate_limited", "Retry-After", "60"),
		"we are refused":  oauthError(401, "invalid_client", ""),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				wantAccepted(t, d.verify(t))
				issued := time.Now()
				d.exchanges.set(outage)
				for time.Since(issued) < 300*time.Second {
					wantAccepted(t, d.verify(t)) // and nobody waits
					time.Sleep(time.Second)
				}
				if took := time.Since(issued); took != 300*time.Second {
					t.Fatalf("calls waited: %v", took)
				}
				if err := d.verify(t); name == "limited" {
					wantRefused(t, err)
				} else {
					wantUnavailable(t, err)
				}
				d.exchanges.set(served(d))
				time.Sleep(11 * time.Second)
				wantAccepted(t, d.verify(t))
			})
		})
	}
}

func TestARefreshThatMayHaveBeenChargedIsNotTriedAgainUntilTheTokenEnds(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		d.exchanges.set(oauthError(503, "temporarily_unavailable", "outcome_unknown"))
		time.Sleep(230 * time.Second)
		for range 60 {
			wantAccepted(t, d.verify(t))
			time.Sleep(time.Second)
		}
		d.wantExchanges(t, 2)
	})
}

func TestAKeyRefusedAtItsRefreshIsRefusedAtOnce(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		d.RemoveKey(d.key)
		time.Sleep(230 * time.Second)
		wantAccepted(t, d.verify(t)) // has it refreshed
		synctest.Wait()
		wantRefused(t, d.verify(t))
		d.wantExchanges(t, 2)
	})
}

func TestATokenWhoseSigningKeyIsWithdrawnIsExchangedAnew(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		longLived := d.AddKey(sdktest.Key{Lifetime: 15 * time.Minute})
		verify := func() {
			_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: longLived})
			wantAccepted(t, err)
		}
		verify()
		d.Rotate(sdk.EdDSA)
		time.Sleep(4*time.Minute + time.Second)
		verify()
		synctest.Wait()
		verify()
		d.wantExchanges(t, 1) // a new key alone costs no exchange
		d.Withdraw()
		time.Sleep(4*time.Minute + time.Second)
		verify()
		synctest.Wait()
		verify()
		d.wantExchanges(t, 2)
	})
}

func TestNothingIsChargedWhileItsTokenCouldNotBeChecked(t *testing.T) {
	iss := start(t)
	synctest.Test(t, func(t *testing.T) {
		exchanges := newWire(served(iss))
		config := iss.ClientConfig(billing)
		config.HTTPClient = newWire(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				return exchanges.RoundTrip(r)
			}
			return cut(r)
		}).client()
		_, err := newClient(t, config).VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: "ck_1"})
		wantUnavailable(t, err)
		if exchanges.count() != 0 {
			t.Fatal("exchanged")
		}
	})
}
