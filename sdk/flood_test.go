package sdk_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func forgedKid(iss *sdktest.Issuer, i int) string {
	return iss.MintWith(sdktest.Header{"kid": fmt.Sprintf("forged-%d", i)}, iss.Claims(billing))
}

func TestAFloodOfForgedKidsCausesOneFetchASecondAndANewKeyIsAcceptedMeanwhile(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(after(20*time.Millisecond, served(iss)))
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		began := time.Now()
		var flood sync.WaitGroup
		for worker := range 50 {
			flood.Go(func() {
				for i := range 20 {
					wantRefused(t, check(t, checker, forgedKid(iss, worker*100+i)))
				}
			})
		}
		time.Sleep(4300 * time.Millisecond)
		iss.Rotate(sdk.EdDSA)
		asked := time.Now()
		for _, err := range together(50, func(int) error { return check(t, checker, iss.Token(billing)) }) {
			wantAccepted(t, err)
		}
		if waited := time.Since(asked); waited > 1100*time.Millisecond {
			t.Fatalf("the new key was accepted after %v", waited)
		}
		flood.Wait()
		took := time.Since(began)
		if limit := int(took/time.Second) + 2; w.count() > limit {
			t.Fatalf("%d fetches in %v", w.count(), took)
		}
	})
}

func TestNoMoreThan256CallersWaitForAFetch(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, _ *wire, checker *sdk.Checker) {
		wantAccepted(t, checker.Ready(t.Context()))
		turned := 0
		for _, err := range together(300, func(i int) error { return check(t, checker, forgedKid(iss, i)) }) {
			var away *sdk.UnavailableError
			if errors.As(err, &away) {
				turned++
				if away.RetryAfter != time.Second {
					t.Fatalf("retry after %v", away.RetryAfter)
				}
				continue
			}
			wantRefused(t, err)
		}
		if turned != 300-256 {
			t.Fatalf("%d turned away", turned)
		}
		wantAccepted(t, check(t, checker, iss.Token(billing)))
	})
}

// A flood may crowd out those who wait for a new key. They are told to come back,
// never refused; and once one fetch was made, nobody waits for that key any more.
func TestInAFloodOfFiveHundredANewKeyIsAcceptedOfWhoeverComesBack(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(after(20*time.Millisecond, served(iss)))
		wantAccepted(t, checker.Ready(t.Context()))
		end := time.Now().Add(4 * time.Second)
		var flood sync.WaitGroup
		for i := range 500 {
			flood.Go(func() {
				raw := forgedKid(iss, i)
				for time.Now().Before(end) {
					if err := check(t, checker, raw); err == nil {
						t.Error("accepted a forged kid")
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		time.Sleep(2300 * time.Millisecond)
		iss.Rotate(sdk.EdDSA)
		asked := time.Now()
		for _, err := range together(50, func(int) error {
			raw := iss.Token(billing)
			err := check(t, checker, raw)
			var away *sdk.UnavailableError
			for errors.As(err, &away) {
				time.Sleep(away.RetryAfter)
				err = check(t, checker, raw)
			}
			return err
		}) {
			wantAccepted(t, err)
		}
		if waited := time.Since(asked); waited > 1100*time.Millisecond {
			t.Fatalf("the new key was accepted after %v", waited)
		}
		flood.Wait()
		if n := w.count(); n > 6 {
			t.Fatalf("%d fetches in 4 s", n)
		}
	})
}
