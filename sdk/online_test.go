package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func TestEveryOnlineCallAsksTheIssuer(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		for range 10 {
			wantAccepted(t, d.online(t))
		}
		d.wantExchanges(t, 11)
		d.exchanges.set(after(time.Second, served(d)))
		began := time.Now()
		for _, err := range together(100, func(int) error { return d.online(t) }) {
			wantAccepted(t, err)
		}
		if took := time.Since(began); took != time.Second {
			t.Fatalf("took %v: they waited for each other", took)
		}
		d.wantExchanges(t, 111)
	})
}

func TestOnlineCallsCountABudgetExactly(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.key = d.AddKey(sdktest.Key{Limited: true, Uses: 30})
		wantAccepted(t, d.client.Ready(t.Context()))
		d.exchanges.set(after(time.Second, served(d)))
		granted := 0
		for _, err := range together(50, func(int) error { return d.online(t) }) {
			var limited *sdk.LimitedError
			if err == nil {
				granted++
			} else if !errors.As(err, &limited) || limited.Reason != sdk.ReasonSpent {
				t.Fatalf("got %v", err)
			}
		}
		if granted != 30 {
			t.Fatalf("%d granted of 30", granted)
		}
		d.wantExchanges(t, 50)
	})
}

func TestAnOnlineCallNeitherJoinsNorIsJoined(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.client.Ready(t.Context()))
		d.exchanges.set(after(time.Second, served(d)))
		for _, err := range together(6, func(i int) error {
			time.Sleep(time.Duration(i) * time.Millisecond)
			switch i % 3 {
			case 0:
				return d.online(t)
			case 1:
				return d.verify(t)
			default:
				return d.noOlderThan(t, time.Minute)
			}
		}) {
			wantAccepted(t, err)
		}
		d.wantExchanges(t, 3) // two online, one that all others share
	})
}

func TestNothingIsKeptOfWhatAnOnlineCallBrings(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.online(t))
		d.wantHeld(t, sdk.Held{})
		wantAccepted(t, d.verify(t)) // by an exchange
		d.wantExchanges(t, 2)
		time.Sleep(200 * time.Second)
		wantAccepted(t, d.online(t))
		time.Sleep(10 * time.Second)
		wantAccepted(t, d.noOlderThan(t, 20*time.Second)) // by another
		d.wantExchanges(t, 4)
	})
}

func TestARevocationSeenOnlineEndsTheGrantAtOnce(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		d.RemoveKey(d.key)
		wantAccepted(t, d.verify(t))
		wantRefused(t, d.online(t))
		wantRefused(t, d.verify(t))
		wantRefused(t, d.noOlderThan(t, time.Minute))
		d.wantExchanges(t, 2)
	})
}

func TestAnOnlineCallIsNotAnsweredByARememberedRefusal(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"unknown": oauthError(400, "invalid_request", ""), "not for us": oauthError(400, "invalid_target", ""),
		"spent for good": oauthError(429, "invalid_request", "spent"),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(answer)
				wantRefused(t, d.verify(t))
				for range 3 {
					wantRefused(t, d.online(t))
				}
				d.wantExchanges(t, 4)
				d.exchanges.set(served(d)) // the operator has seen to it
				wantRefused(t, d.verify(t))
				wantAccepted(t, d.online(t))
				d.wantExchanges(t, 5)
				wantAccepted(t, d.verify(t)) // by an exchange: the refusal is over
				d.wantExchanges(t, 6)
			})
		})
	}
}

func TestAnOnlineCallWaitsAsTheIssuerAsked(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		wait   time.Duration
	}{
		"rate limited":             {oauthError(429, "invalid_request", "rate_limited", "Retry-After", "7"), 7 * time.Second},
		"spent until a refill":     {oauthError(429, "invalid_request", "spent", "Retry-After", "7"), 7 * time.Second},
		"too many attempts":        {oauthError(429, "temporarily_unavailable", "", "Retry-After", "7"), 7 * time.Second},
		"overloaded":               {oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "7"), 7 * time.Second},
		"asked to wait very long":  {oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "70"), 10 * time.Second},
		"charged in vain":          {cut, time.Second},
		"charged in vain, to wait": {oauthError(503, "temporarily_unavailable", "outcome_unknown", "Retry-After", "7"), 7 * time.Second},
		"our client is refused":    {oauthError(401, "invalid_client", ""), time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				wantAccepted(t, d.verify(t))
				d.exchanges.set(c.answer)
				for range 10 {
					if err := d.online(t); err == nil {
						t.Fatal("accepted")
					}
				}
				wantAccepted(t, d.verify(t))
				time.Sleep(c.wait - 1)
				if err := d.online(t); err == nil {
					t.Fatal("accepted")
				}
				d.wantExchanges(t, 2)
				d.exchanges.set(served(d))
				time.Sleep(time.Nanosecond)
				wantAccepted(t, d.online(t))
				d.wantExchanges(t, 3)
			})
		})
	}
}

func TestATimeToWaitOutlastsAGrantThatWasUnderWay(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		h := byHand(d)
		first, second := h.call(t, d.online), h.call(t, d.online)
		var limited *sdk.LimitedError
		if err := second.answer(oauthError(429, "invalid_request", "rate_limited", "Retry-After", "3")); !errors.As(err, &limited) {
			t.Fatalf("got %v", err)
		}
		wantAccepted(t, first.answer(served(d)))
		if err := d.online(t); !errors.As(err, &limited) || limited.RetryAfter != 3*time.Second {
			t.Fatalf("got %v", err)
		}
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 3)
	})
}

func TestAnOnlineCallNeedsNoTokenThatIsAcceptable(t *testing.T) {
	atDeskWith(t, onlyES256, func(t *testing.T, d *desk) {
		wantUnavailable(t, d.verify(t))
		wantAccepted(t, d.online(t))
		wantUnavailable(t, d.verify(t)) // nor does it make them acceptable
		d.wantExchanges(t, 2)
	})
}

func TestOnlineCallsOfOneKeyThatFailTogetherAreOneFailure(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.client.Ready(t.Context()))
		d.exchanges.set(after(time.Second, cut))
		for _, err := range together(50, func(int) error { return d.online(t) }) {
			wantRetryAfter(t, err, time.Second)
		}
		d.wantExchanges(t, 50)
		for i, pause := range pauses {
			time.Sleep(pause * time.Second)
			for _, err := range together(50, func(int) error { return d.online(t) }) {
				wantUnavailable(t, err)
			}
			d.wantExchanges(t, 51+i) // one finds out, and nobody else
		}
		time.Sleep(3 * time.Minute) // that was long ago
		for _, err := range together(5, func(int) error { return d.online(t) }) {
			wantRetryAfter(t, err, time.Second)
		}
		d.wantExchanges(t, 59+5)
	})
}

func TestAGrantEndsThePausesOfItsKey(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(cut)
		wantRetryAfter(t, d.online(t), time.Second)
		time.Sleep(time.Second)
		d.exchanges.set(after(time.Second, served(d)))
		wantAccepted(t, d.online(t))
		for _, err := range together(5, func(int) error { return d.online(t) }) {
			wantAccepted(t, err)
		}
		d.exchanges.set(cut)
		wantRetryAfter(t, d.online(t), time.Second) // a first failure
	})
}

func TestARefusalThatAGrantFollowedIsForgotten(t *testing.T) {
	atDeskWith(t, func(config *sdk.ClientConfig) { config.GrantCache = 1 }, func(t *testing.T, d *desk) {
		d.exchanges.set(refuses)
		wantRefused(t, d.verify(t))
		d.exchanges.set(served(d))
		wantAccepted(t, d.online(t))
		wantAccepted(t, d.verifyKey(t, d.more(1)[0])) // pushes the token out
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 4)
	})
}

func TestALateFailureOfManyBeginsNoNewPause(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		h := byHand(d)
		first, second := h.call(t, d.online), h.call(t, d.online)
		wantRetryAfter(t, first.answer(cut), time.Second)
		time.Sleep(2 * time.Second)
		wantUnavailable(t, d.online(t)) // since the second is under way still
		wantRetryAfter(t, second.answer(cut), 0)
		third := h.call(t, d.online)
		wantRetryAfter(t, third.answer(cut), 2*time.Second)
	})
}

func TestAnOnlineCallEndsThoughItsCallerHasGivenUp(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		d.exchanges.set(after(time.Second, refuses))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := d.client.VerifyAPIKey(ctx, sdk.VerifyRequest{Key: d.key, Online: true})
		wantUnavailable(t, err)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		wantAccepted(t, d.verify(t))
		time.Sleep(time.Second)
		wantRefused(t, d.verify(t)) // what it was told counts
		d.wantExchanges(t, 2)

		d.exchanges.set(hangs)
		began := time.Now()
		wantUnavailable(t, d.online(t))
		if took := time.Since(began); took != 5*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

func TestNobodyIsChargedForWhoHasGivenUpAlready(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.client.Ready(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, req := range []sdk.VerifyRequest{{}, {Online: true}, {MaxAge: time.Second}} {
			req.Key = d.key
			_, err := d.client.VerifyAPIKey(ctx, req)
			wantUnavailable(t, err)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
		}
		d.wantExchanges(t, 0)
	})
}

func TestOnlineCallsAreAmongThe256(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		other := d.more(1)[0]
		d.exchanges.set(after(time.Second, served(d)))
		turned := 0
		for _, err := range together(300, func(i int) error {
			if i%2 == 0 {
				return d.online(t)
			}
			_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: other, Online: true})
			return err
		}) {
			if err != nil {
				wantUnavailable(t, err)
				turned++
			}
		}
		if turned != 300-256 {
			t.Fatalf("%d turned away", turned)
		}
		d.wantExchanges(t, 257)
	})
}

func TestWhatCannotBeAKeyIsNotAskedOnline(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		for _, key := range []string{"", "a b", strings.Repeat("k", 513), d.Token(billing)} {
			_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key, Online: true})
			wantRefused(t, err)
		}
		d.wantExchanges(t, 0)
	})
}

func TestAnOnlineCallNeedsNoPublicKeys(t *testing.T) {
	iss := start(t)
	key := iss.AddKey(sdktest.Key{})
	synctest.Test(t, func(t *testing.T) {
		config := iss.ClientConfig(billing)
		config.HTTPClient = newWire(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				return served(iss)(r)
			}
			return nil, errors.New("no key set")
		}).client()
		_, err := newClient(t, config).VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key, Online: true})
		wantAccepted(t, err)
	})
}

func TestAnOnlineCallThatLacksPermissionsIsFree(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.key = d.AddKey(sdktest.Key{Permissions: sdk.Permissions{"projects": {"read"}}, Limited: true, Uses: 2})
		wantAccepted(t, d.verify(t))
		ask := func(actions ...string) error {
			_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{
				Key: d.key, Online: true, MaxAge: time.Hour, Permissions: sdk.Permissions{"projects": actions},
			})
			return err
		}
		for range 3 {
			var forbidden *sdk.ForbiddenError
			if err := ask("read", "write"); !errors.As(err, &forbidden) || fmt.Sprint(forbidden.Needed) != "map[projects:[write]]" {
				t.Fatalf("got %v", err)
			}
		}
		wantAccepted(t, d.verify(t)) // nor is that remembered against others
		wantAccepted(t, ask("read"))
		d.wantExchanges(t, 5)
	})
}
