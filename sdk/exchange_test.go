package sdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func TestARefusalIsRememberedForSomeSeconds(t *testing.T) {
	for name, code := range map[string]string{"the key": "invalid_request", "the audience": "invalid_target", "the scope": "invalid_scope"} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(oauthError(400, code, ""))
				for range 10 {
					err := d.verify(t)
					wantRefused(t, err)
					var forbidden *sdk.ForbiddenError
					if errors.As(err, &forbidden) != (code != "invalid_request") {
						t.Fatalf("got %v", err)
					}
				}
				d.wantExchanges(t, 1)
				d.exchanges.set(served(d))
				time.Sleep(5 * time.Second)
				wantAccepted(t, d.verify(t))
			})
		})
	}
}

func TestMadeUpKeysDoNotPushOutGoodOnes(t *testing.T) {
	iss := startAtNoon(t)
	good := iss.AddKey(sdktest.Key{})
	config := iss.ClientConfig(billing)
	config.GrantCache, config.RefusalCache = 1, 4
	config.HTTPClient = newWire(served(iss)).client()
	client := newClient(t, config)
	verify := func(key string) error {
		_, err := client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key})
		return err
	}
	wantAccepted(t, verify(good))
	for i := range 50 {
		wantRefused(t, verify("ck_"+strings.Repeat("x", i+1)))
	}
	wantAccepted(t, verify(good))
	if n := iss.Exchanges(); n != 51 {
		t.Fatalf("%d exchanges", n)
	}
}

func TestALimitSaysWhyAndWhenToRetry(t *testing.T) {
	limited := func(reason string, ms int64) func(*http.Request) (*http.Response, error) {
		body, _ := json.Marshal(map[string]any{"error": "invalid_request", "reason": reason, "retry_after_ms": ms})
		return says(429, string(body), "Retry-After", "2")
	}
	atDesk(t, func(t *testing.T, d *desk) {
		want := func(reason string, after time.Duration) {
			t.Helper()
			err := d.verify(t)
			wantRefused(t, err)
			var got *sdk.LimitedError
			if !errors.As(err, &got) || got.Reason != reason || got.RetryAfter != after {
				t.Fatalf("got %v", err)
			}
			if after > 0 && !got.RetryAt.Equal(time.Now().Add(after)) {
				t.Fatalf("retry at %v", got.RetryAt)
			}
		}
		d.exchanges.set(limited("rate_limited", 1500))
		want(sdk.ReasonRateLimited, 1500*time.Millisecond)
		time.Sleep(time.Second)
		want(sdk.ReasonRateLimited, 500*time.Millisecond) // remembered, and counted down
		d.wantExchanges(t, 1)
		time.Sleep(500 * time.Millisecond)
		d.exchanges.set(limited("spent", 0))
		want(sdk.ReasonSpent, 2*time.Second) // by the header
		time.Sleep(2 * time.Second)
		d.exchanges.set(oauthError(429, "invalid_request", "spent"))
		want(sdk.ReasonSpent, 0)
		d.wantExchanges(t, 3)
		time.Sleep(10500 * time.Millisecond) // to a whole second, as dates are
		d.exchanges.set(oauthError(429, "invalid_request", "spent", "Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)))
		want(sdk.ReasonSpent, time.Hour)
		d.exchanges.set(served(d))
		time.Sleep(10 * time.Second)
		wantAccepted(t, d.verify(t)) // an operator may have given more
	})
}

func TestWhatIsNoWordAboutTheKeyIsUnavailable(t *testing.T) {
	iss := start(t)
	foreign := func(change string, value any) string {
		claims := iss.Claims(billing)
		claims[change] = value
		return iss.Mint(claims)
	}
	granted := func(token, typ string) func(*http.Request) (*http.Response, error) {
		body, _ := json.Marshal(map[string]any{"access_token": token, "token_type": typ, "expires_in": 300})
		return says(200, string(body))
	}
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"our credentials are wrong":              oauthError(401, "invalid_client", ""),
		"our client may not exchange":            oauthError(400, "unauthorized_client", ""),
		"the grant is not supported":             oauthError(400, "unsupported_grant_type", ""),
		"403 by a proxy":                         says(403, "<html>"),
		"400 by a proxy":                         says(400, "<html>"),
		"404":                                    says(404, ""),
		"500":                                    says(500, "{}"),
		"503 by a proxy":                         says(503, "<html>"),
		"429 of this client":                     oauthError(429, "temporarily_unavailable", "", "Retry-After", "7"),
		"429 without a reason":                   oauthError(429, "invalid_request", ""),
		"a redirect":                             says(307, "", "Location", "https://elsewhere.example.com/"),
		"200 without JSON":                       says(200, "ok"),
		"200 without a token":                    says(200, "{}"),
		"200 with a token that is no bearer's":   granted(iss.Token(billing), "N_A"),
		"200 with a token of another issuer":     granted(foreign("iss", "https://evil.example.com"), "Bearer"),
		"200 with a token for somebody else":     granted(foreign("aud", "other"), "Bearer"),
		"200 with an endless body":               endless,
		"a cut connection":                       cut,
		"an outcome that the issuer cannot tell": oauthError(503, "temporarily_unavailable", "outcome_unknown"),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(answer)
				err := d.verify(t)
				wantUnavailable(t, err)
				for _, secret := range []string{d.key, sdktest.ClientSecret} {
					if strings.Contains(err.Error(), secret) {
						t.Fatal("the error holds a secret")
					}
				}
				d.wantExchanges(t, 1) // never repeated unasked
			})
		})
	}
}

func TestAWrongClientSecretIsSaidPlainly(t *testing.T) {
	iss := start(t)
	config := iss.ClientConfig(billing)
	config.ClientSecret = sdk.NewSecret("wrong")
	_, err := newClient(t, config).VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: iss.AddKey(sdktest.Key{})})
	wantUnavailable(t, err)
	if !strings.Contains(err.Error(), "ClientSecret") || strings.Contains(err.Error(), "wrong") {
		t.Fatalf("got %v", err)
	}
}

func TestOnlyWhatChargedNothingIsRepeated(t *testing.T) {
	busy := oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "1")
	atDesk(t, func(t *testing.T, d *desk) {
		failures := 2
		d.exchanges.set(func(r *http.Request) (*http.Response, error) {
			if failures--; failures >= 0 {
				return busy(r)
			}
			return served(d)(r)
		})
		began := time.Now()
		wantAccepted(t, d.verify(t))
		if took := time.Since(began); took != 2*time.Second {
			t.Fatalf("took %v: Retry-After is not honoured", took)
		}
		d.wantExchanges(t, 3)
	})
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(busy)
		wantUnavailable(t, d.verify(t))
		d.wantExchanges(t, 3) // and then it is given up
	})
}

func TestALongRetryAfterIsToldNotWaitedFor(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "8"))
		began := time.Now()
		err := d.verify(t)
		wantUnavailable(t, err)
		var away *sdk.UnavailableError
		if !errors.As(err, &away) || away.RetryAfter != 8*time.Second || time.Since(began) > 0 {
			t.Fatalf("got %v after %v", err, time.Since(began))
		}
		time.Sleep(7 * time.Second)
		wantUnavailable(t, d.verify(t)) // not asked again before that
		d.wantExchanges(t, 1)
		d.exchanges.set(served(d))
		time.Sleep(time.Second)
		wantAccepted(t, d.verify(t))
	})
}

func TestATokenForAnotherKeyspaceIsNotTaken(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		body, _ := json.Marshal(map[string]any{"access_token": d.Token(billing), "token_type": "bearer"})
		d.exchanges.set(says(200, string(body)))
		_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, Keyspace: "secret"})
		wantUnavailable(t, err)
		_, err = d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, Keyspace: "default"})
		wantAccepted(t, err)
	})
}

func TestNoMoreThan256ExchangesAreUnderWay(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.client.Ready(t.Context()))
		d.exchanges.set(after(time.Second, oauthError(400, "invalid_request", "")))
		turned := 0
		for _, err := range together(300, func(i int) error {
			_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: fmt.Sprintf("ck_%d", i)})
			return err
		}) {
			if errors.Is(err, sdk.ErrUnavailable) {
				turned++
				continue
			}
			wantRefused(t, err)
		}
		if turned != 300-256 {
			t.Fatalf("%d turned away", turned)
		}
		d.wantExchanges(t, 256)
		d.exchanges.set(served(d))
		wantAccepted(t, d.verify(t))
	})
}

func TestTheCallersCookiesAreNeitherSentNorAdded(t *testing.T) {
	iss := startAtNoon(t)
	issuer, err := url.Parse(iss.URL())
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(issuer, []*http.Cookie{{Name: "session", Value: "theirs", Path: "/"}})
	w := newWire(func(r *http.Request) (*http.Response, error) {
		resp, err := served(iss)(r)
		resp.Header.Set("Set-Cookie", "ours=1; Path=/")
		return resp, err
	})
	config := iss.ClientConfig(billing)
	config.HTTPClient = &http.Client{Transport: w, Jar: jar}
	_, err = newClient(t, config).VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: iss.AddKey(sdktest.Key{})})
	wantAccepted(t, err)
	if n := w.count(); n != 2 { // the key set and the exchange
		t.Fatalf("%d requests", n)
	}
	for i := range w.count() {
		if w.header(i).Get("Cookie") != "" {
			t.Fatal("a cookie was sent")
		}
	}
	if got := jar.Cookies(issuer); len(got) != 1 {
		t.Fatalf("the jar holds %d cookies", len(got))
	}
}
