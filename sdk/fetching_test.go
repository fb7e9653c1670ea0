package sdk_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// inVirtualTime gives a test an issuer behind a wire, whose time passes only
// while everybody waits.
func inVirtualTime(t *testing.T, test func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker)) {
	t.Helper()
	iss := start(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWire(served(iss))
		config := iss.CheckerConfig(billing)
		config.HTTPClient = w.client()
		test(t, iss, w, newChecker(t, config))
		time.Sleep(time.Minute) // whatever still flies lands
	})
}

// together runs n calls at once and returns their errors.
func together(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = call(i) })
	}
	wg.Wait()
	return errs
}

func check(t *testing.T, checker *sdk.Checker, raw string) error {
	t.Helper()
	_, err := checker.Check(t.Context(), raw)
	return err
}

func TestFiftyColdCallersCauseOneFetch(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(after(50*time.Millisecond, served(iss)))
		for _, err := range together(50, func(int) error { return check(t, checker, iss.Token(billing)) }) {
			wantAccepted(t, err)
		}
		if n := w.count(); n != 1 {
			t.Fatalf("%d fetches", n)
		}
	})
}

func TestFiftyCallersWithANewKeyAreAllAcceptedAfterOneFetch(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		time.Sleep(10 * time.Second)
		iss.Rotate(sdk.EdDSA)
		w.set(after(300*time.Millisecond, served(iss)))
		for _, err := range together(50, func(int) error { return check(t, checker, iss.Token(billing)) }) {
			wantAccepted(t, err)
		}
		if n := w.count(); n != 2 {
			t.Fatalf("%d fetches", n)
		}
	})
}

func TestACallerWhoComesTooLateForAFetchWaitsForTheNext(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		stale := iss.KeySet()
		w.set(after(300*time.Millisecond, says(200, string(stale))))
		errs := make(chan error, 1)
		go func() { errs <- checker.Ready(t.Context()) }()
		synctest.Wait() // the fetch is under way, and brings the old set
		iss.Rotate(sdk.EdDSA)
		w.set(served(iss))
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		wantAccepted(t, <-errs)
	})
}

func TestAFetchOutlivesTheCallerWhoStartedIt(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(after(time.Second, served(iss)))
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		first := make(chan error, 1)
		go func() {
			_, err := checker.Check(impatient, iss.Token(billing))
			first <- err
		}()
		synctest.Wait()
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		err := <-first
		wantUnavailable(t, err)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the caller's own deadline as the cause", err)
		}
		if n := w.count(); n != 1 {
			t.Fatalf("%d fetches", n)
		}
	})
}

func TestAFetchThatHangsEndsAfterThreeSecondsAndTheNextCallerIsServed(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(hangs)
		began := time.Now()
		wantUnavailable(t, check(t, checker, iss.Token(billing)))
		if took := time.Since(began); took != 3*time.Second {
			t.Fatalf("took %v", took)
		}
		w.set(served(iss))
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		if took := time.Since(began); took > 4*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

func TestAFetchWhoseGoroutineIsEndedLandsAllTheSame(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(func(*http.Request) (*http.Response, error) {
			runtime.Goexit() // as t.FailNow in somebody's transport does
			return nil, nil
		})
		wantUnavailable(t, check(t, checker, iss.Token(billing)))
		w.set(served(iss))
		wantAccepted(t, check(t, checker, iss.Token(billing)))
	})
}

// The set of these tests: max-age 300 s, so due after 240 s; MaxStale 1 h.
var failures = map[string]func(*http.Request) (*http.Response, error){
	"down":           cut,
	"slow":           hangs,
	"500":            says(500, "oops"),
	"HTML":           says(200, "<html>"),
	"truncated JSON": says(200, `{"keys":[{"kty":"OKP"`),
	"an empty set":   says(200, `{"keys":[]}`),
	"no set":         says(200, `{}`),
	"no keys":        says(200, `{"keys":null}`),
	"an odd set":     says(200, `{"keys":{}}`),
	"65 keys":        says(200, `{"keys":[`+strings.Repeat(someKey+",", 64)+someKey+`]}`),
	"a part":         says(206, `{"keys":[`+someKey+`]}`),
	"nothing":        says(204, ""),
	"a redirect":     says(302, "", "Location", "https://elsewhere.example.com/"),
	"endless":        endless,
	"304 unasked":    says(304, ""),
}

const someKey = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"x","alg":"EdDSA","use":"sig"}`

func endless(r *http.Request) (*http.Response, error) {
	resp, err := says(200, "")(r)
	resp.Body = io.NopCloser(zeros{})
	return resp, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestWhenARefreshFailsKnownKeysAnswerAtOnceForABoundedTime(t *testing.T) {
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
				wantAccepted(t, check(t, checker, iss.Token(billing)))
				w.set(failure)
				end := time.Now().Add(5*time.Minute + time.Hour)
				for time.Now().Before(end) {
					began := time.Now()
					wantAccepted(t, check(t, checker, iss.Token(billing)))
					if took := time.Since(began); took > 0 {
						t.Fatalf("a check waited %v", took)
					}
					time.Sleep(min(time.Minute, time.Until(end.Add(-1))+1))
				}
				remembered := iss.Token(billing)
				wantUnavailable(t, check(t, checker, remembered))
				w.set(served(iss))
				wantAccepted(t, check(t, checker, remembered))
			})
		})
	}
}

func TestAFailingIssuerIsAskedEveryTenSecondsWhileTheOldSetIsGood(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		raw := iss.Token(billing)
		wantAccepted(t, check(t, checker, raw))
		w.set(cut)
		time.Sleep(4 * time.Minute)
		for range 600 {
			wantAccepted(t, check(t, checker, raw))
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.count(); n < 6 || n > 8 {
			t.Fatalf("%d fetches", n)
		}
	})
}

func TestARedirectIsRefused(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "jwks.json") {
				return says(307, "", "Location", "/elsewhere")(r)
			}
			return says(200, string(iss.KeySet()))(r)
		})
		wantUnavailable(t, checker.Ready(t.Context()))
		if w.count() != 1 {
			t.Fatal("followed")
		}
	})
}

func TestAnEndlessBodyIsCutAtTheCap(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, _ *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(endless)
		wantUnavailable(t, checker.Ready(t.Context()))
	})
}

func TestAWithdrawnKeyIsRefusedAfterTheNextRefreshAndItsRememberedTokensDieWithIt(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, _ *wire, checker *sdk.Checker) {
		old := iss.Token(billing)
		wantAccepted(t, check(t, checker, old))
		iss.Rotate(sdk.EdDSA)
		fresh := iss.Token(billing)
		wantAccepted(t, check(t, checker, fresh))
		wantAccepted(t, check(t, checker, old)) // still published

		iss.Withdraw()
		time.Sleep(4*time.Minute + 5*time.Second)
		wantAccepted(t, check(t, checker, fresh)) // and has the set refreshed
		synctest.Wait()
		wantRefused(t, check(t, checker, old))
		wantAccepted(t, check(t, checker, fresh))
	})
}

func TestAKeyReplacedUnderItsKidTakesItsTokensAlong(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		raw := iss.Token(billing)
		wantAccepted(t, check(t, checker, raw))
		kid := iss.KID()
		iss.Rotate(sdk.EdDSA)
		w.set(says(200, setOf(signingKey(iss, jwk{"kid": kid}))))
		time.Sleep(4 * time.Minute)
		wantAccepted(t, check(t, checker, raw))
		synctest.Wait()
		wantRefused(t, check(t, checker, raw))
	})
}

func TestAConstructorReturnsAtOnceWhileTheIssuerIsDownAndReadyTells(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, _ *sdk.Checker) {
		w.set(hangs)
		config := iss.CheckerConfig(billing)
		config.HTTPClient = w.client()
		began := time.Now()
		checker := newChecker(t, config)
		if time.Since(began) > 0 || w.count() != 0 {
			t.Fatal("the constructor waited, or fetched")
		}
		wantUnavailable(t, checker.Ready(t.Context()))
		w.set(served(iss))
		wantAccepted(t, checker.Ready(t.Context()))
		wantAccepted(t, checker.Ready(t.Context()))
		if w.count() != 2 {
			t.Fatalf("%d fetches", w.count())
		}
	})
}

func TestWithADeadIssuerColdCallersAreToldSoAndCauseOneFetchASecond(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(cut)
		began := time.Now()
		for range 10 {
			for _, err := range together(20, func(int) error { return check(t, checker, iss.Token(billing)) }) {
				wantUnavailable(t, err)
			}
		}
		if n, took := w.count(), time.Since(began); n > int(took/time.Second)+2 {
			t.Fatalf("%d fetches in %v", n, took)
		}
	})
}
