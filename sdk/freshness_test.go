package sdk_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func TestMaxStaleIsTheCallersChoice(t *testing.T) {
	iss := start(t)
	for stale, wait := range map[time.Duration]time.Duration{-1: 5 * time.Minute, 10 * time.Minute: 15 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w, config := newWire(served(iss)), iss.CheckerConfig(billing)
			config.MaxStale, config.HTTPClient = stale, w.client()
			checker := newChecker(t, config)
			wantAccepted(t, checker.Ready(t.Context()))
			w.set(cut)
			time.Sleep(wait - 1)
			remembered := iss.Token(billing)
			wantAccepted(t, check(t, checker, remembered))
			time.Sleep(time.Nanosecond)
			wantUnavailable(t, check(t, checker, iss.Token(billing)))
			wantUnavailable(t, check(t, checker, remembered))
		})
	}
}

func TestMaxAgeIsHonouredAndClamped(t *testing.T) {
	for header, due := range map[string]time.Duration{
		"":                                 240 * time.Second,
		"public, max-age=100":              80 * time.Second,
		"max-age=100, s-maxage=9":          80 * time.Second,
		"max-age=0":                        24 * time.Second,
		"no-store":                         24 * time.Second,
		"no-cache, max-age=600":            24 * time.Second,
		"max-age=31536000":                 48 * time.Minute,
		"max-age=99999999999999999999":     240 * time.Second,
		"max-age=-5":                       240 * time.Second,
		"MAX-AGE=100":                      80 * time.Second,
		"max-age=200\x00Age\x00100":        80 * time.Second,
		"max-age=100\x00Age\x009999999999": 80 * time.Second,
	} {
		t.Run(header, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
				headers := strings.Split("Cache-Control\x00"+header, "\x00")
				w.set(says(200, string(iss.KeySet()), headers...))
				wantAccepted(t, check(t, checker, iss.Token(billing)))
				time.Sleep(due - 1)
				wantAccepted(t, check(t, checker, iss.Token(billing)))
				synctest.Wait()
				if w.count() != 1 {
					t.Fatal("refreshed early")
				}
				time.Sleep(time.Nanosecond)
				wantAccepted(t, check(t, checker, iss.Token(billing)))
				synctest.Wait()
				if w.count() != 2 {
					t.Fatal("not refreshed when due")
				}
			})
		})
	}
}

func TestAnETagIsSentBackAndNotModifiedKeepsTheSet(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		body := string(iss.KeySet())
		w.set(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("If-None-Match") == `"v1"` {
				return says(304, "", "ETag", `"v1"`, "Cache-Control", "max-age=300")(r)
			}
			return says(200, body, "ETag", `"v1"`, "Cache-Control", "max-age=300")(r)
		})
		for range 30 {
			wantAccepted(t, check(t, checker, iss.Token(billing)))
			time.Sleep(4 * time.Minute)
		}
		synctest.Wait()
		if w.header(0).Get("If-None-Match") != "" || w.header(1).Get("If-None-Match") != `"v1"` {
			t.Fatal("the ETag is not sent, or sent before it was known")
		}
	})
}

func TestAnETagThatTheIssuerChokesOnIsNotSentAgain(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("If-None-Match") != "" {
				return says(431, "")(r)
			}
			return says(200, string(iss.KeySet()), "ETag", `"v1"`, "Cache-Control", "max-age=300")(r)
		})
		for range 30 {
			wantAccepted(t, check(t, checker, iss.Token(billing)))
			time.Sleep(4 * time.Minute)
		}
	})
}

func TestNotModifiedKeepsTheSetWhateverItsETag(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		w.set(says(200, string(iss.KeySet()), "ETag", `"v1"`))
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		w.set(says(304, "", "ETag", `W/"v2"`))
		for range 30 {
			time.Sleep(4 * time.Minute)
			wantAccepted(t, check(t, checker, iss.Token(billing)))
		}
		synctest.Wait()
		if got := w.header(w.count() - 1).Get("If-None-Match"); got != `"v1"` {
			t.Fatalf("asked for %s, which we never had", got)
		}
	})
}

const year = 365 * 24 * time.Hour

func TestAKeyWithdrawnWhileTheClockWasAheadIsNotKeptUntilItIsThereAgain(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, _ *wire, checker *sdk.Checker) {
		old := iss.Token(billing)
		iss.Rotate(sdk.EdDSA)
		fresh := iss.Token(billing)
		iss.Advance(year)
		wantAccepted(t, checker.Ready(t.Context()))
		iss.Advance(-year)
		iss.Withdraw()
		wantAccepted(t, check(t, checker, fresh)) // at once, and has the set refreshed
		time.Sleep(time.Second)
		synctest.Wait()
		wantRefused(t, check(t, checker, old))
		wantAccepted(t, check(t, checker, fresh))
	})
}

func TestAClockThatIsSetBackDoesNotMakeTheSetLiveLonger(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		iss.Advance(year)
		wantAccepted(t, checker.Ready(t.Context()))
		w.set(cut)
		iss.Advance(-year)
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		time.Sleep(time.Second) // a fetch later the clock is found out
		synctest.Wait()
		fetches, end := w.count(), time.Now().Add(time.Hour+5*time.Minute)
		for range 60 {
			wantAccepted(t, check(t, checker, iss.Token(billing)))
			time.Sleep(time.Second)
		}
		if n := w.count() - fetches; n > 6 {
			t.Fatalf("%d fetches in a minute", n)
		}
		time.Sleep(time.Until(end))
		wantUnavailable(t, check(t, checker, iss.Token(billing)))
	})
}

func TestAClockThatJumpsToAndFroLosesNoKey(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		for range 3 {
			iss.Advance(year)
			wantAccepted(t, check(t, checker, iss.Token(billing)))
			w.set(cut)
			iss.Advance(year)
			wantUnavailable(t, check(t, checker, iss.Token(billing)))
			iss.Advance(-year)
			wantAccepted(t, check(t, checker, iss.Token(billing)))
			iss.Advance(-year)
			wantAccepted(t, check(t, checker, iss.Token(billing)))
			w.set(served(iss))
			time.Sleep(11 * time.Second)
		}
	})
}

func TestAClockThatIsSetBackALittleCausesNoFetch(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, iss *sdktest.Issuer, w *wire, checker *sdk.Checker) {
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		iss.Advance(-20 * time.Second)
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		synctest.Wait()
		if n := w.count(); n != 1 {
			t.Fatalf("%d fetches", n)
		}
	})
}
