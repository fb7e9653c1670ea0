package sdk_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// atDeskWithStatus is a desk whose tokens have a status, in lists that l serves.
func atDeskWithStatus(t *testing.T, change func(*sdk.ClientConfig), test func(t *testing.T, d *desk, l *lists)) {
	t.Helper()
	var l *lists
	atDeskWith(t, func(config *sdk.ClientConfig) {
		posts, _ := config.HTTPClient.Transport.(*wire)
		l = &lists{wire: posts, handle: posts.handle}
		config.HTTPClient = &http.Client{Transport: l}
		if change != nil {
			change(config)
		}
	}, func(t *testing.T, d *desk) {
		d.TrackStatus(ttl)
		test(t, d, l)
	})
}

func TestATokenThatIsCalledBackIsExchangedAnewIfItsKeyIsGood(t *testing.T) {
	for name, age := range map[string]time.Duration{"for who does not ask": 0, "for who does": time.Hour} {
		t.Run(name, func(t *testing.T) {
			atDeskWithStatus(t, nil, func(t *testing.T, d *desk, l *lists) {
				wantAccepted(t, d.verify(t))
				time.Sleep(10 * time.Second)
				d.Revoke(d.key)
				l.serve(after(time.Millisecond, served(d))) // its list is of before the next exchange
				d.exchanges.set(after(time.Second, served(d)))
				for _, err := range together(50, func(int) error { return d.noOlderThan(t, age) }) {
					wantAccepted(t, err)
				}
				d.wantExchanges(t, 2) // one charge for all
				d.Restore(d.key)
				for range 100 {
					wantAccepted(t, d.noOlderThan(t, age))
					time.Sleep(time.Second)
				}
				d.wantExchanges(t, 2)
			})
		})
	}
}

func TestATokenThatIsCalledBackOnceIsExchangedAtOnceHoweverYoung(t *testing.T) {
	atDeskWithStatus(t, nil, func(t *testing.T, d *desk, _ *lists) {
		wantAccepted(t, d.verify(t))
		wantAccepted(t, d.fresh(t))
		d.Revoke(d.key)
		time.Sleep(time.Millisecond)
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 3)
	})
}

func TestAListThatIsOlderThanTheExchangeDoesNotUndoIt(t *testing.T) {
	atDeskWithStatus(t, nil, func(t *testing.T, d *desk, l *lists) {
		other := d.more(1)[0]
		d.Suspend(d.key)
		wantAccepted(t, d.verifyKey(t, other))
		wantAccepted(t, d.verifyKey(t, other)) // has the list fetched
		time.Sleep(time.Millisecond)
		d.Restore(d.key)
		for range 10 {
			wantAccepted(t, d.verify(t))
			wantAccepted(t, d.verifyKey(t, other))
		}
		d.wantExchanges(t, 2)
		if l.count() != 1 {
			t.Fatalf("%d lists fetched", l.count())
		}
	})
}

func TestWhereListsAndExchangesDisagreeKeysAreExchangedEverLater(t *testing.T) {
	atDeskWithStatus(t, nil, func(t *testing.T, d *desk, _ *lists) {
		wantAccepted(t, d.verify(t))
		d.Revoke(d.key) // and yet it is exchanged
		refused := 0
		for range 10 * 60 {
			if err := d.verify(t); err != nil {
				wantRefused(t, err)
				refused++
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := d.exchanges.count(); n > 18 {
			t.Fatalf("%d charges in 10 minutes", n)
		}
		d.Restore(d.key)
		time.Sleep(ttl)
		n := d.exchanges.count()
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, n)
		if refused < 400 {
			t.Fatalf("refused %d times", refused)
		}
	})
}

func TestWhileAListCannotBeHadAKeptTokenIsNoAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*sdk.ClientConfig)
		accepted bool
	}{
		"by default":                      {nil, false},
		"unless older ones are relied on": {func(c *sdk.ClientConfig) { c.Checker.MaxStatusAge = time.Hour }, true},
		"unless failing open":             {func(c *sdk.ClientConfig) { c.Checker.StatusFailOpen = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			atDeskWithStatus(t, c.change, func(t *testing.T, d *desk, l *lists) {
				other := d.more(1)[0]
				for range 2 {
					wantAccepted(t, d.verifyKey(t, other)) // has the list fetched
				}
				time.Sleep(time.Second)
				wantAccepted(t, d.verify(t))
				l.serve(cut)
				time.Sleep(time.Minute)
				for range 10 {
					if err := d.verify(t); c.accepted {
						wantAccepted(t, err)
					} else {
						wantUnavailable(t, err)
					}
				}
				d.wantExchanges(t, 2) // it is not charged for that
				wantAccepted(t, d.online(t))
				d.wantExchanges(t, 3)
			})
		})
	}
}

func TestAKeyWhoseTokensAreCalledBackIsNoMatterOfOthers(t *testing.T) {
	atDeskWithStatus(t, nil, func(t *testing.T, d *desk, _ *lists) {
		d.Revoke(d.key)
		wantAccepted(t, d.verifyKey(t, d.more(1)[0]))
		for range 5 {
			_ = d.verify(t)
			wantAccepted(t, d.verifyKey(t, d.AddKey(sdktest.Key{})))
			time.Sleep(time.Second)
		}
	})
}
