package sdk_test

import (
	"errors"
	"math"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func TestAnAnswerNoOlderThanAskedIsGivenLocally(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		time.Sleep(10 * time.Second)
		wantAccepted(t, d.noOlderThan(t, 10*time.Second))
		wantAccepted(t, d.noOlderThan(t, math.MaxInt64))
		d.wantExchanges(t, 1)
		wantAccepted(t, d.noOlderThan(t, 10*time.Second-1))
		d.wantExchanges(t, 2)
		wantAccepted(t, d.noOlderThan(t, 1)) // the one just made will do
		time.Sleep(time.Second)
		wantAccepted(t, d.verify(t)) // and serves those who do not ask
		d.wantExchanges(t, 2)
	})
}

func TestAgeIsCountedFromTheStartOfTheExchange(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.client.Ready(t.Context()))
		d.exchanges.set(after(time.Second, served(d)))
		wantAccepted(t, d.verify(t))
		wantAccepted(t, d.noOlderThan(t, time.Second)) // received this instant
		d.wantExchanges(t, 1)
		wantAccepted(t, d.noOlderThan(t, time.Second-1))
		d.wantExchanges(t, 2)
	})
}

func TestAMaxAgeBeyondTheTokensLifeChangesNothing(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.noOlderThan(t, time.Hour))
		time.Sleep(226 * time.Second)
		wantAccepted(t, d.noOlderThan(t, time.Hour)) // has it refreshed, and does not wait
		d.wantExchanges(t, 2)
		time.Sleep(300 * time.Second)
		wantAccepted(t, d.noOlderThan(t, time.Hour))
		d.wantExchanges(t, 3)
	})
}

func TestANegativeMaxAgeIsAMistakeOfTheCaller(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		err := d.noOlderThan(t, -1)
		if err == nil || errors.Is(err, sdk.ErrRefused) || errors.Is(err, sdk.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
		d.wantExchanges(t, 0)
	})
}

func TestCallersWhoWantItFreshShareAnExchangeThatIsYoungEnough(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		time.Sleep(time.Minute)
		d.exchanges.set(after(2*time.Second, served(d)))
		for _, err := range together(50, func(i int) error {
			time.Sleep(time.Duration(i) * time.Millisecond)
			return d.noOlderThan(t, 49*time.Millisecond)
		}) {
			wantAccepted(t, err)
		}
		d.wantExchanges(t, 2)

		time.Sleep(time.Minute)
		for _, err := range together(3, func(i int) error {
			time.Sleep(time.Duration(i) * time.Second / 2) // 0, 0.5 s, 1 s
			return d.noOlderThan(t, 800*time.Millisecond)
		}) {
			wantAccepted(t, err)
		}
		d.wantExchanges(t, 4) // the third finds the first too old
	})
}

func TestWhoDoesNotWantItFreshJoinsWhoDoes(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.client.Ready(t.Context()))
		d.exchanges.set(after(time.Second, served(d)))
		for _, err := range together(10, func(i int) error {
			if i == 0 {
				return d.noOlderThan(t, 1)
			}
			time.Sleep(time.Millisecond)
			return d.verify(t)
		}) {
			wantAccepted(t, err)
		}
		d.wantExchanges(t, 1)
	})
}

func TestInAnOutageOnlyWhoWantsItFreshFeelsIt(t *testing.T) {
	for name, outage := range map[string]func(*http.Request) (*http.Response, error){
		"down": cut, "hanging": hangs, "500": says(500, "oops"),
		"unavailable":     oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "1"),
		"outcome unknown": oauthError(503, "temporarily_unavailable", "outcome_unknown"),
		"we are refused":  oauthError(401, "invalid_client", ""),
		"limited":         oauthError(429, "invalid_request", "rate_limited", "Retry-After", "7"),
		"spent for good":  oauthError(429, "invalid_request", "spent"),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				wantAccepted(t, d.verify(t))
				time.Sleep(time.Minute)
				d.exchanges.set(outage)
				for range 20 {
					err := d.noOlderThan(t, 30*time.Second)
					var limited *sdk.LimitedError
					if isLimit := errors.As(err, &limited); isLimit != (name == "limited" || name == "spent for good") {
						t.Fatalf("got %v", err)
					} else if !isLimit {
						wantUnavailable(t, err)
					}
					began := time.Now()
					wantAccepted(t, d.verify(t))
					wantAccepted(t, d.noOlderThan(t, 5*time.Minute))
					if time.Since(began) > 0 {
						t.Fatal("others wait")
					}
					time.Sleep(time.Second)
				}
				d.exchanges.set(served(d))
				time.Sleep(time.Minute)
				wantAccepted(t, d.noOlderThan(t, 30*time.Second))
			})
		})
	}
}

func TestARefusalToWhoWantsItFreshEndsTheGrant(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"revoked": oauthError(400, "invalid_request", ""), "no longer for our audience": oauthError(400, "invalid_target", ""),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				wantAccepted(t, d.verify(t))
				d.exchanges.set(answer)
				wantAccepted(t, d.verify(t))
				wantRefused(t, d.fresh(t))
				wantRefused(t, d.verify(t))
				d.wantExchanges(t, 2)
				d.exchanges.set(served(d))
				time.Sleep(5 * time.Second)
				wantAccepted(t, d.verify(t)) // by an exchange: the first token is not taken up again
				d.wantExchanges(t, 3)
			})
		})
	}
}

func TestARefusalTooIsNoOlderThanAsked(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"unknown": oauthError(400, "invalid_request", ""), "spent for good": oauthError(429, "invalid_request", "spent"),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(answer)
				wantRefused(t, d.verify(t))
				time.Sleep(2 * time.Second)
				wantRefused(t, d.noOlderThan(t, 2*time.Second))
				d.wantExchanges(t, 1)
				d.exchanges.set(served(d))
				wantRefused(t, d.verify(t))
				wantAccepted(t, d.noOlderThan(t, 2*time.Second-1))
				wantAccepted(t, d.verify(t)) // the refusal is forgotten
				d.wantExchanges(t, 2)
			})
		})
	}
}

func TestAMaxAgeIsNotMetByWhatSeemsToComeFromTheFuture(t *testing.T) {
	var back atomic.Int64
	setBack := func(config *sdk.ClientConfig) {
		clock := config.Now
		config.Now = func() time.Time { return clock().Round(0).Add(-time.Duration(back.Load())) }
	}
	atDeskWith(t, setBack, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		back.Store(int64(10 * time.Second))
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 1)
		wantAccepted(t, d.noOlderThan(t, time.Minute))
		d.wantExchanges(t, 2)
		wantAccepted(t, d.noOlderThan(t, time.Minute))
		d.wantExchanges(t, 2)
	})
}

func TestAnExchangeForWhoWantsItFreshSparesTheRefresh(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		time.Sleep(230 * time.Second)
		d.exchanges.set(after(time.Second, served(d)))
		fresh := make(chan error, 1)
		go func() { fresh <- d.noOlderThan(t, time.Second) }()
		synctest.Wait()
		for range 10 {
			wantAccepted(t, d.verify(t))
		}
		wantAccepted(t, <-fresh)
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 2)
	})
}

func TestEveryExchangeForFreshnessIsACharge(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.key = d.AddKey(sdktest.Key{Limited: true, Uses: 3})
		for range 3 {
			wantAccepted(t, d.fresh(t))
		}
		var limited *sdk.LimitedError
		if err := d.fresh(t); !errors.As(err, &limited) || limited.Reason != sdk.ReasonSpent {
			t.Fatalf("got %v", err)
		}
		wantAccepted(t, d.verify(t)) // the last token is paid for
		d.wantExchanges(t, 4)
	})
}
