package sdk_test

import (
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// ahead sets our clock ahead of the issuer's.
func ahead(skew time.Duration) func(*sdk.ClientConfig) {
	return func(config *sdk.ClientConfig) {
		clock := config.Now
		config.Now = func() time.Time { return clock().Add(skew) }
	}
}

func TestAGrantLivesAsLongAsItsTokenWhateverOurClockSays(t *testing.T) {
	for name, c := range map[string]struct {
		lifetime, skew time.Duration // how far our clock is ahead
		lasts          time.Duration
	}{
		"in tune":                                 {5 * time.Minute, 0, 300 * time.Second},
		"ahead by more than three quarters":       {20 * time.Second, 16 * time.Second, 20 * time.Second},
		"ahead by more than a life":               {20 * time.Second, 25 * time.Second, 20 * time.Second},
		"ahead, and out of leeway before its end": {20 * time.Second, 35 * time.Second, 15 * time.Second},
		"far ahead, until leeway ends":            {5 * time.Minute, 230 * time.Second, 100 * time.Second},
		"behind, as far as leeway goes":           {5 * time.Minute, -30 * time.Second, 300 * time.Second},
		"behind, with a short token":              {20 * time.Second, -29 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			atDeskWith(t, ahead(c.skew), func(t *testing.T, d *desk) {
				d.key = d.AddKey(sdktest.Key{Lifetime: c.lifetime})
				received := time.Now()
				for age := time.Duration(0); age < min(c.lasts, c.lifetime*3/4)-time.Second; age += time.Second {
					for range 10 {
						wantAccepted(t, d.verify(t))
					}
					d.wantExchanges(t, 1)
					time.Sleep(time.Second)
				}
				d.exchanges.set(cut)
				time.Sleep(c.lasts - 1 - time.Since(received))
				wantAccepted(t, d.verify(t)) // by the first token still
				time.Sleep(time.Second)
				wantUnavailable(t, d.verify(t))
			})
		})
	}
}

func TestWithAClockThatIsAheadThereIsOneExchangePerLife(t *testing.T) {
	for name, c := range map[string]struct{ lifetime, skew, each time.Duration }{
		"refreshed in the last quarter": {20 * time.Second, 16 * time.Second, 15 * time.Second},
		"exchanged as leeway ends":      {5 * time.Minute, 230 * time.Second, 100 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			atDeskWith(t, ahead(c.skew), func(t *testing.T, d *desk) {
				d.key = d.AddKey(sdktest.Key{Lifetime: c.lifetime})
				for began := time.Now(); time.Since(began) < 6*c.each; time.Sleep(time.Second) {
					wantAccepted(t, d.verify(t))
				}
				d.wantExchanges(t, 6)
			})
		})
	}
}
