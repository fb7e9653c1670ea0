package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func (d *desk) wantHeld(t *testing.T, want sdk.Held) {
	t.Helper()
	if got := d.client.Held(); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
}

func TestAFloodOfMadeUpKeysPushesOutNothingAndIsForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		how   sdk.VerifyRequest
		flood int
	}{
		"asked in any way": {sdk.VerifyRequest{}, 10_000},
		"asked online":     {sdk.VerifyRequest{Online: true}, 5_000},
		"asked afresh":     {sdk.VerifyRequest{MaxAge: time.Second}, 5_000},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				good := d.more(100)
				for _, key := range good {
					wantAccepted(t, d.verifyKey(t, key))
				}
				odd := d.AddKey(sdktest.Key{Metadata: make([]byte, 16<<10)})
				wantRetryAfter(t, d.verifyKey(t, odd), time.Second)
				d.exchanges.set(refuses)
				for _, err := range together(20, func(i int) error {
					for j := range c.flood / 20 {
						req := c.how
						req.Key = fmt.Sprintf("ck_%d_%d", i, j)
						if _, err := d.client.VerifyAPIKey(t.Context(), req); !errors.Is(err, sdk.ErrRefused) {
							return fmt.Errorf("not refused: %w", err)
						}
					}
					return nil
				}) {
					wantAccepted(t, err)
				}
				d.wantExchanges(t, 101+c.flood)
				for _, key := range good {
					wantAccepted(t, d.verifyKey(t, key))
				}
				wantRetryAfter(t, d.verifyKey(t, odd), time.Second) // nor is it charged again
				d.wantExchanges(t, 101+c.flood)
				d.wantHeld(t, sdk.Held{Kept: 100, Refused: 4096, InVain: 1})
			})
		})
	}
}

func TestMadeUpKeysInAnOutageAreForgottenToo(t *testing.T) {
	small := func(config *sdk.ClientConfig) { config.GrantCache, config.RefusalCache = 2, 8 }
	atDeskWith(t, small, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		d.exchanges.set(cut)
		for i := range 100 {
			wantUnavailable(t, d.verifyKey(t, fmt.Sprintf("ck_%d", i)))
		}
		wantAccepted(t, d.verify(t))
		d.wantHeld(t, sdk.Held{Kept: 1, InVain: 8})
		d.exchanges.set(served(d))
		for _, key := range d.more(10) {
			wantAccepted(t, d.verifyKey(t, key))
		}
		d.wantHeld(t, sdk.Held{Kept: 2, InVain: 8})
	})
}

func TestTheKeyUsedLeastRecentlyIsForgottenFirst(t *testing.T) {
	atDeskWith(t, func(config *sdk.ClientConfig) { config.GrantCache = 2 }, func(t *testing.T, d *desk) {
		keys := d.more(3)
		for _, i := range []int{0, 1, 0, 0, 2, 0} {
			wantAccepted(t, d.verifyKey(t, keys[i]))
		}
		d.wantExchanges(t, 3)
		wantAccepted(t, d.verifyKey(t, keys[1]))
		d.wantExchanges(t, 4)
		d.wantHeld(t, sdk.Held{Kept: 2})
	})
}

func TestNothingIsLeftOfExchangesThatHaveEnded(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"refused": refuses, "cut": cut, "hanging": hangs, "limited": oauthError(429, "invalid_request", "spent"),
		"unavailable": oauthError(503, "temporarily_unavailable", "unavailable"), "web page": says(200, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(answer)
				for _, err := range together(20, func(i int) error {
					if i%2 == 0 {
						return d.online(t)
					}
					return d.fresh(t)
				}) {
					if err == nil {
						t.Fatal("accepted")
					}
				}
				if held := d.client.Held(); held.Aloft != 0 || held.Flights != 0 {
					t.Fatalf("%+v", held)
				}
			})
		})
	}
}

func TestWhenTheClockIsSetBackNothingWaitsForItToCatchUp(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		change func(*sdk.ClientConfig)
	}{
		"refused":         {answer: refuses},
		"limited":         {answer: oauthError(429, "invalid_request", "spent", "Retry-After", "7")},
		"unavailable":     {answer: oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "7")},
		"charged in vain": {answer: cut},
		"unfit tokens":    {change: onlyES256},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change == nil {
				c.change = func(*sdk.ClientConfig) {}
			}
			atDeskWith(t, c.change, func(t *testing.T, d *desk) {
				defer d.Advance(time.Hour)
				if c.answer != nil {
					d.exchanges.set(c.answer)
				}
				for range 3 {
					if d.verify(t) == nil {
						t.Fatal("accepted")
					}
				}
				d.wantExchanges(t, 1)
				d.Advance(-time.Hour)
				for range 3 {
					if d.verify(t) == nil {
						t.Fatal("accepted")
					}
				}
				d.wantExchanges(t, 2) // a pause of its own begins
				d.exchanges.set(served(d))
				if name == "unfit tokens" {
					d.Rotate(sdk.ES256)
				}
				time.Sleep(11 * time.Second)
				wantAccepted(t, d.verify(t))
			})
		})
	}
}

func TestWhenTheClockIsSetBackOneExchangeAtATimeFindsOutStill(t *testing.T) {
	atDeskWith(t, onlyES256, func(t *testing.T, d *desk) {
		defer d.Advance(time.Hour)
		wantUnavailable(t, d.verify(t))
		d.Advance(-time.Hour)
		d.exchanges.set(after(100*time.Millisecond, served(d)))
		keys := d.more(10)
		for _, err := range together(10, func(i int) error { return d.verifyKey(t, keys[i]) }) {
			wantUnavailable(t, err)
		}
		d.wantExchanges(t, 2)
	})
}

func TestAPauseGrowsOnAcrossOtherAnswers(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(cut)
		wantRetryAfter(t, d.verify(t), time.Second)
		time.Sleep(time.Second)
		d.exchanges.set(oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "5"))
		wantRetryAfter(t, d.verify(t), 5*time.Second)
		time.Sleep(5 * time.Second)
		d.exchanges.set(cut)
		wantRetryAfter(t, d.verify(t), 2*time.Second)
	})
}

func TestOneCallerCannotSpoilAnErrorForOthers(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(after(time.Second, oauthError(400, "invalid_target", "")))
		for _, err := range append(together(2, func(int) error { return d.verify(t) }), d.verify(t)) {
			var forbidden *sdk.ForbiddenError
			if !errors.As(err, &forbidden) || forbidden.Audience != billing {
				t.Fatalf("got %v", err)
			}
			forbidden.Audience = "spoilt"
		}
		d.wantExchanges(t, 1)
	})
}

// Whatever the order of things, no call is granted online without a charge of its
// own, and nothing is left behind.
func TestManyCallersOfManyKeysInEveryWay(t *testing.T) {
	const callers, calls, uses = 16, 150, 60
	small := func(config *sdk.ClientConfig) { config.GrantCache = 8 } // some are always being forgotten
	atDeskWith(t, small, func(t *testing.T, d *desk) {
		var keys [16]string
		var granted [len(keys)]atomic.Int64 // online
		for i := range keys {
			keys[i] = d.AddKey(sdktest.Key{Limited: true, Uses: uses})
		}
		d.exchanges.set(func(r *http.Request) (*http.Response, error) {
			time.Sleep(rand.N(20 * time.Millisecond))
			return served(d)(r)
		})
		together(callers, func(int) error {
			for range calls {
				i := rand.IntN(len(keys))
				req := sdk.VerifyRequest{Key: keys[i], Online: rand.IntN(3) == 0, MaxAge: rand.N(20 * time.Millisecond)}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond+rand.N(time.Minute))
				_, err := d.client.VerifyAPIKey(ctx, req)
				cancel()
				if err == nil && req.Online {
					granted[i].Add(1)
				}
				var limited *sdk.LimitedError
				if err != nil && !errors.As(err, &limited) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			}
			return nil
		})
		for i := range granted {
			if n := granted[i].Load(); n > uses {
				t.Errorf("%d granted online of %d", n, uses)
			}
		}
		time.Sleep(5 * time.Second) // what a caller left behind has landed
		if held := d.client.Held(); held.Aloft != 0 || held.Flights != 0 || held.Kept != 8 {
			t.Errorf("%+v", held)
		}
	})
}
