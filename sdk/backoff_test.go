package sdk_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func (d *desk) verifyKey(t *testing.T, key string) error {
	t.Helper()
	_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key})
	return err
}

// more adds n keys that are good.
func (d *desk) more(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = d.AddKey(sdktest.Key{})
	}
	return keys
}

func wantRetryAfter(t *testing.T, err error, want time.Duration) {
	t.Helper()
	wantUnavailable(t, err)
	var away *sdk.UnavailableError
	if !errors.As(err, &away) || away.RetryAfter != want {
		t.Fatalf("got %v, retry after %v, want %v", err, away.RetryAfter, want)
	}
}

// onlyES256 makes the issuer's tokens, which are EdDSA, unacceptable.
func onlyES256(config *sdk.ClientConfig) { config.Checker.Algorithms = []sdk.Algorithm{sdk.ES256} }

var pauses = []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} // seconds

func TestATokenThatIsNotAcceptableIsChargedOncePerPause(t *testing.T) {
	for name, wrong := range map[string]func(*sdk.ClientConfig){"the algorithm": onlyES256, "the clock": ahead(6 * time.Minute)} {
		t.Run(name, func(t *testing.T) {
			atDeskWith(t, wrong, func(t *testing.T, d *desk) {
				for i, pause := range pauses {
					pause *= time.Second
					for range 20 {
						wantRetryAfter(t, d.verify(t), pause)
					}
					time.Sleep(pause - 1)
					wantRetryAfter(t, d.verify(t), 1)
					d.wantExchanges(t, i+1)
					time.Sleep(time.Nanosecond)
				}
			})
		})
	}
}

func TestWhileTokensAreNotAcceptableOneKeyPerPauseIsCharged(t *testing.T) {
	atDeskWith(t, onlyES256, func(t *testing.T, d *desk) {
		for i, pause := range pauses {
			for _, key := range d.more(30) {
				wantRetryAfter(t, d.verifyKey(t, key), pause*time.Second)
			}
			d.wantExchanges(t, i+1)
			time.Sleep(pause * time.Second)
		}
		d.Rotate(sdk.ES256)
		for _, key := range d.more(30) { // the first of them finds out
			wantAccepted(t, d.verifyKey(t, key))
		}
		d.wantExchanges(t, len(pauses)+30)
	})
}

func TestExchangesThatFailTogetherAreOneFailure(t *testing.T) {
	atDeskWith(t, onlyES256, func(t *testing.T, d *desk) {
		wantAccepted(t, d.client.Ready(t.Context()))
		keys := d.more(50)
		d.exchanges.set(after(100*time.Millisecond, served(d)))
		for _, err := range together(50, func(i int) error { return d.verifyKey(t, keys[i]) }) {
			wantRetryAfter(t, err, time.Second)
		}
		wantRetryAfter(t, d.verify(t), time.Second)
		time.Sleep(time.Second)
		began := time.Now()
		for _, err := range together(50, func(int) error { return d.verify(t) }) {
			wantRetryAfter(t, err, 2*time.Second) // all wait for the one probe
		}
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Fatalf("took %v", took)
		}
		d.wantExchanges(t, 51)
	})
}

func TestWhoIsNotTheProbeDoesNotWaitForIt(t *testing.T) {
	atDeskWith(t, onlyES256, func(t *testing.T, d *desk) {
		wantUnavailable(t, d.verify(t))
		time.Sleep(time.Second)
		d.exchanges.set(after(300*time.Millisecond, served(d)))
		probe := make(chan error, 1)
		go func() { probe <- d.verify(t) }()
		synctest.Wait()
		began := time.Now()
		wantRetryAfter(t, d.verifyKey(t, d.more(1)[0]), time.Second)
		if time.Since(began) > 0 {
			t.Fatal("waited")
		}
		wantUnavailable(t, <-probe)
		d.wantExchanges(t, 2)
	})
}

func TestAProbeThatChargedNothingGivesWayToTheNext(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"a made-up key": oauthError(400, "invalid_request", ""),
		"a limited key": oauthError(429, "invalid_request", "spent"),
		"we are busy":   oauthError(429, "temporarily_unavailable", ""),
	} {
		t.Run(name, func(t *testing.T) {
			atDeskWith(t, onlyES256, func(t *testing.T, d *desk) {
				wantUnavailable(t, d.verify(t))
				time.Sleep(time.Second)
				d.exchanges.set(answer)
				for i := range 10 {
					if err := d.verifyKey(t, fmt.Sprintf("ck_%d", i)); err == nil {
						t.Fatal("accepted")
					}
				}
				d.wantExchanges(t, 11)
				d.Rotate(sdk.ES256)
				d.exchanges.set(served(d))
				wantAccepted(t, d.verify(t))
			})
		})
	}
	atDeskWith(t, onlyES256, func(t *testing.T, d *desk) {
		wantUnavailable(t, d.verify(t))
		time.Sleep(time.Second)
		d.exchanges.set(cut) // which may have been charged
		wantUnavailable(t, d.verify(t))
		wantRetryAfter(t, d.verifyKey(t, d.more(1)[0]), time.Second)
		d.wantExchanges(t, 2)
	})
}

func TestNothingIsRefreshedAheadWhileTokensAreNotAcceptable(t *testing.T) {
	only := func(config *sdk.ClientConfig) { config.Checker.Algorithms = []sdk.Algorithm{sdk.EdDSA} }
	atDeskWith(t, only, func(t *testing.T, d *desk) {
		keys := d.more(20)
		verify := func() {
			for _, key := range keys {
				wantAccepted(t, d.verifyKey(t, key))
				synctest.Wait()
			}
		}
		verify()
		d.wantExchanges(t, 20)
		d.Rotate(sdk.ES256)
		time.Sleep(230 * time.Second)
		for range 10 {
			verify()
			verify()
		}
		d.wantExchanges(t, 21)
		time.Sleep(time.Second)
		verify()
		d.wantExchanges(t, 22)
		d.Rotate(sdk.EdDSA)
		time.Sleep(2 * time.Second)
		verify()
		synctest.Wait()
		time.Sleep(time.Second) // the key set is fetched
		verify()
		d.wantExchanges(t, 40) // all but the two whose refresh was charged in vain
	})
}

func TestWhatIsWrongWithTheTokenOfOneKeyIsNoMatterOfOthers(t *testing.T) {
	for name, key := range map[string]sdktest.Key{
		"too long":  {Metadata: make([]byte, 16<<10)},
		"malformed": {Metadata: nested(33)},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				odd := d.AddKey(key)
				for range 20 {
					wantRetryAfter(t, d.verifyKey(t, odd), time.Second)
				}
				d.wantExchanges(t, 1)
				wantAccepted(t, d.verify(t))
			})
		})
	}
}

func TestAnExchangeThatMayHaveBeenChargedIsRepeatedEverLater(t *testing.T) {
	for name, failure := range map[string]func(*http.Request) (*http.Response, error){
		"down": cut, "500": says(500, "oops"), "no token": says(200, "{}"), "outcome unknown": oauthError(503, "temporarily_unavailable", "outcome_unknown"),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(failure)
				for i, pause := range pauses {
					for range 20 {
						wantRetryAfter(t, d.verify(t), pause*time.Second)
					}
					d.wantExchanges(t, i+1)
					time.Sleep(pause * time.Second)
				}
				time.Sleep(time.Minute) // and nobody asked: that is over
				wantRetryAfter(t, d.verify(t), time.Second)

				other := d.more(1)[0]
				d.exchanges.set(served(d))
				wantAccepted(t, d.verifyKey(t, other)) // it is about one key
				time.Sleep(time.Second)
				wantAccepted(t, d.verify(t))
			})
		})
	}
}

func TestAnUnknownOutcomeThatSaysWhenToRetryIsHeard(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(oauthError(503, "temporarily_unavailable", "outcome_unknown", "Retry-After", "30"))
		wantRetryAfter(t, d.verify(t), 30*time.Second)
		d.exchanges.set(served(d))
		time.Sleep(10*time.Second - 1)
		wantRetryAfter(t, d.verify(t), 20*time.Second+1)
		d.wantExchanges(t, 1)
		time.Sleep(time.Nanosecond)
		wantAccepted(t, d.verify(t)) // however long we were asked to wait
	})
}
