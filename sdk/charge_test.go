package sdk_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// left is what remains of the desk's key.
func (d *desk) left(t *testing.T) int64 {
	t.Helper()
	token, err := d.ask(t, sdk.VerifyRequest{Peek: true})
	wantAccepted(t, err)
	budget, ok := token.Budget()
	if !ok || !budget.Limited {
		t.Fatalf("got %+v", budget)
	}
	return budget.Remaining
}

func TestAnOnlineCallChargesItsCostOrNothing(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.key = d.AddKey(sdktest.Key{Limited: true, Uses: 10, RetryAfter: time.Hour})
		for _, c := range []struct{ cost, left int64 }{{0, 9}, {1, 8}, {5, 3}} {
			_, err := d.ask(t, sdk.VerifyRequest{Cost: c.cost})
			wantAccepted(t, err)
			if got := d.left(t); got != c.left {
				t.Fatalf("%d left after %d, want %d", got, c.cost, c.left)
			}
		}
		var limited *sdk.LimitedError
		if _, err := d.ask(t, sdk.VerifyRequest{Cost: 4}); !errors.As(err, &limited) || limited.RetryAfter != time.Hour {
			t.Fatalf("got %v", err)
		}
		_, err := d.ask(t, sdk.VerifyRequest{Cost: 3}) // what was too dear before is not remembered
		wantAccepted(t, err)
		if _, err := d.ask(t, sdk.VerifyRequest{Peek: true}); !errors.As(err, &limited) {
			t.Fatalf("got %v", err)
		}
		if _, err := d.ask(t, sdk.VerifyRequest{Cost: 2}); !errors.As(err, &limited) {
			t.Fatalf("got %v", err)
		}
		if n := d.Verifications(); n != 3+3+1+1+1 { // the last waits, as the peek was told to
			t.Fatalf("%d calls", n)
		}
	})
}

func TestWhatNoCallCanMeanIsAMistakeOfTheCaller(t *testing.T) {
	for name, req := range map[string]sdk.VerifyRequest{
		"a negative cost":                    {Online: true, Cost: -1},
		"a negative cost of an exchange":     {Cost: -1},
		"an exchange of cost 2":              {Cost: 2},
		"a peek that is not online":          {Peek: true},
		"a name for an exchange":             {IdempotencyKey: "order-1"},
		"a peek of cost 1":                   {Online: true, Peek: true, Cost: 1},
		"a peek under a name":                {Online: true, Peek: true, IdempotencyKey: "order-1"},
		"a name with a line break":           {Online: true, IdempotencyKey: "order\n1"},
		"a name beyond ASCII":                {Online: true, IdempotencyKey: "bestellung-ä"},
		"a name of 256 bytes":                {Online: true, IdempotencyKey: strings.Repeat("n", 256)},
		"a negative age":                     {MaxAge: -1},
		"no actions asked of some resource":  {Permissions: sdk.Permissions{"a": nil}},
		"nor of one that is asked of online": {Online: true, Permissions: sdk.Permissions{"a": {}}},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				req.Key = d.key
				_, err := d.client.VerifyAPIKey(t.Context(), req)
				if err == nil || errors.Is(err, sdk.ErrRefused) || errors.Is(err, sdk.ErrUnavailable) {
					t.Fatalf("got %v", err)
				}
				d.wantExchanges(t, 0)
			})
		})
	}
	atDesk(t, func(t *testing.T, d *desk) {
		_, err := d.client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: d.key, Cost: 1}) // which is what it costs
		wantAccepted(t, err)
		_, err = d.ask(t, sdk.VerifyRequest{IdempotencyKey: strings.Repeat("n", 255)})
		wantAccepted(t, err)
	})
}

func TestWhatHasANameIsChargedOnce(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.key = d.AddKey(sdktest.Key{Limited: true, Uses: 1, RetryAfter: time.Hour})
		order := sdk.VerifyRequest{IdempotencyKey: "order-1"}
		_, err := d.ask(t, order)
		wantAccepted(t, err)
		var limited *sdk.LimitedError
		if err := d.online(t); !errors.As(err, &limited) {
			t.Fatalf("got %v", err)
		}
		token, err := d.ask(t, order) // although others have to wait
		wantAccepted(t, err)
		if budget, _ := token.Budget(); budget.Remaining != 0 {
			t.Fatalf("got %+v", budget)
		}
		d.RemoveKey(d.key)
		_, err = d.ask(t, order)
		wantRefused(t, err)
	})
}

func TestANameForAnotherRequestIsAMistakeOfTheCaller(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		_, err := d.ask(t, sdk.VerifyRequest{IdempotencyKey: "order-1"})
		wantAccepted(t, err)
		_, err = d.ask(t, sdk.VerifyRequest{IdempotencyKey: "order-1", Cost: 2})
		if err == nil || errors.Is(err, sdk.ErrRefused) || errors.Is(err, sdk.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
		wantAccepted(t, d.online(t))
	})
}

func TestOnlyWhatCannotBeChargedTwiceIsRepeated(t *testing.T) {
	for name, failure := range map[string]handler{
		"cut":             cut,
		"unknown outcome": says(503, `{"title":"no","status":503,"reason":"outcome_unknown"}`),
		"bad gateway":     says(502, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				req      sdk.VerifyRequest
				repeated bool
			}{
				{sdk.VerifyRequest{}, false},
				{sdk.VerifyRequest{Cost: 2}, false},
				{sdk.VerifyRequest{Peek: true}, true},
				{sdk.VerifyRequest{IdempotencyKey: "order-1"}, true},
			} {
				atDesk(t, func(t *testing.T, d *desk) {
					failures := 2
					d.exchanges.set(func(r *http.Request) (*http.Response, error) {
						if failures--; failures >= 0 {
							return failure(r)
						}
						return served(d)(r)
					})
					_, err := d.ask(t, c.req)
					if c.repeated {
						wantAccepted(t, err)
						d.wantExchanges(t, 3)
						return
					}
					wantUnavailable(t, err)
					d.wantExchanges(t, 1)
				})
			}
		})
	}
}

func TestWhatCannotBeChargedTwiceDoesNotWaitAfterAChargeInVain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(cut)
		wantUnavailable(t, d.online(t))
		_, err := d.ask(t, sdk.VerifyRequest{IdempotencyKey: "order-1"})
		wantUnavailable(t, err)
		d.wantExchanges(t, 1+3)
		d.exchanges.set(served(d))
		wantUnavailable(t, d.online(t)) // who has no name has to
		_, err = d.ask(t, sdk.VerifyRequest{IdempotencyKey: "order-1"})
		wantAccepted(t, err)
		wantAccepted(t, d.online(t)) // since the issuer answers again
		d.wantExchanges(t, 6)
	})
}

func TestWhatCannotBeChargedTwiceWaitsForNobodyAndHoldsNobodyUp(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		named := func(t *testing.T) error {
			_, err := d.ask(t, sdk.VerifyRequest{IdempotencyKey: "order-1"})
			return err
		}
		d.exchanges.set(cut)
		wantUnavailable(t, named(t))
		d.exchanges.set(served(d))
		wantAccepted(t, d.online(t))

		d.exchanges.set(cut)
		wantUnavailable(t, d.online(t))
		time.Sleep(time.Second)
		h := byHand(d)
		first := h.call(t, d.online) // finds out whether charges bring something again
		second := h.call(t, named)
		wantAccepted(t, second.answer(served(d)))
		wantAccepted(t, first.answer(served(d)))
	})
}

func TestAnIssuerThatAsksToWaitHoldsNamesToo(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(says(503, `{"title":"no","status":503,"reason":"unavailable"}`, "Retry-After", "7"))
		wantUnavailable(t, d.online(t))
		_, err := d.ask(t, sdk.VerifyRequest{IdempotencyKey: "order-1"})
		wantUnavailable(t, err)
		d.wantExchanges(t, 1)
	})
}

func TestExchangesAndOnlineCallsWaitApart(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(cut)
		wantUnavailable(t, d.online(t))
		d.exchanges.set(served(d))
		wantAccepted(t, d.verify(t))
		wantUnavailable(t, d.online(t))
		d.wantExchanges(t, 2)
	})
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(oauthError(400, "unauthorized_client", ""))
		wantUnavailable(t, d.verify(t)) // our client may not exchange
		d.exchanges.set(served(d))
		wantUnavailable(t, d.verify(t))
		wantAccepted(t, d.online(t)) // but verify
		d.wantExchanges(t, 2)
	})
}

// Over a real connection, which the issuer cuts once it has charged.
func TestALostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	iss := start(t)
	key := iss.AddKey(sdktest.Key{Limited: true, Uses: 10})
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%2 == 1 {
			iss.ServeHTTP(httptest.NewRecorder(), r)
			resets(w, r)
			return
		}
		iss.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	config := iss.ClientConfig(billing)
	config.VerifyURL = server.URL + "/v1/keys/verify"
	client := newClient(t, config)
	for i, name := range []string{"order-1", "order-2"} {
		token, err := client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key, Online: true, IdempotencyKey: name})
		wantAccepted(t, err)
		if budget, _ := token.Budget(); budget.Remaining != int64(9-i) {
			t.Fatalf("%d left after %s", budget.Remaining, name)
		}
	}
	if _, err := client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key, Online: true}); !errors.Is(err, sdk.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if n := asked.Load(); n != 5 {
		t.Fatalf("asked %d times", n)
	}
}
