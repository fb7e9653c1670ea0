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
