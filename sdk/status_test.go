package sdk_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// lists is a wire that serves status lists by a handler of their own.
type lists struct {
	*wire
	mu     sync.Mutex
	handle func(*http.Request) (*http.Response, error)
	seen   []http.Header
}

func (l *lists) serve(handle func(*http.Request) (*http.Response, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handle = handle
}

func (l *lists) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

func (l *lists) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/statuslists") {
		return l.wire.RoundTrip(r)
	}
	l.mu.Lock()
	l.seen = append(l.seen, r.Header.Clone())
	handle := l.handle
	l.mu.Unlock()
	return handle(r)
}

const ttl = 3 * time.Second

// withStatus gives a test an issuer whose tokens have a status, in virtual time.
func withStatus(t *testing.T, change func(*sdk.CheckerConfig), test func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker)) {
	t.Helper()
	iss := start(t)
	iss.TrackStatus(ttl)
	synctest.Test(t, func(t *testing.T) {
		l := &lists{wire: newWire(served(iss)), handle: served(iss)}
		config := iss.CheckerConfig(billing)
		config.HTTPClient = &http.Client{Transport: l}
		if change != nil {
			change(&config)
		}
		test(t, iss, l, newChecker(t, config))
		time.Sleep(time.Minute) // whatever still flies lands
	})
}

func TestARevokedTokenIsRefusedAtTheLatestOneTTLAfter(t *testing.T) {
	for name, change := range map[string]func(*sdktest.Issuer, string){"revoked": (*sdktest.Issuer).Revoke, "suspended": (*sdktest.Issuer).Suspend} {
		t.Run(name, func(t *testing.T) {
			withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, _ *lists, checker *sdk.Checker) {
				raw, other := iss.Token(billing), iss.Token(billing)
				wantAccepted(t, check(t, checker, raw))
				change(iss, raw)
				time.Sleep(ttl)
				wantBecause(t, check(t, checker, raw), name, raw)
				wantAccepted(t, check(t, checker, other))
			})
		})
	}
}

func TestWithTrafficARevocationIsSeenHalfATTLLater(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, _ *lists, checker *sdk.Checker) {
		raw := iss.Token(billing)
		wantAccepted(t, check(t, checker, raw))
		iss.Revoke(raw)
		time.Sleep(ttl / 2)
		wantAccepted(t, check(t, checker, raw)) // and asks behind its back
		synctest.Wait()
		wantRefused(t, check(t, checker, raw))
	})
}

func TestASuspendedTokenIsGoodAgainOnceRestored(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, _ *lists, checker *sdk.Checker) {
		raw := iss.Token(billing)
		iss.Suspend(raw)
		wantRefused(t, check(t, checker, raw))
		iss.Restore(raw)
		time.Sleep(ttl)
		wantAccepted(t, check(t, checker, raw))
	})
}

func TestAListIsAskedForOnlyWhileTokensAreChecked(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		raw := iss.Token(billing)
		for range 100 { // a check every 10 ms for a second
			wantAccepted(t, check(t, checker, raw))
			time.Sleep(10 * time.Millisecond)
		}
		if l.count() != 1 {
			t.Fatalf("%d fetches in a second", l.count())
		}
		time.Sleep(10 * time.Minute)
		if l.count() != 1 {
			t.Fatalf("%d fetches without traffic", l.count())
		}
	})
}

func TestAListIsAskedForConditionally(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		raw := iss.Token(billing)
		for range 5 {
			wantAccepted(t, check(t, checker, raw))
			time.Sleep(ttl)
		}
		for i, header := range l.seen {
			if (header.Get("If-None-Match") != "") != (i > 0) || header.Get("Accept") != "application/statuslist+jwt" {
				t.Errorf("request %d: %v", i, header)
			}
		}
	})
}

func TestFiftyCallersShareOneFetchOfAList(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		l.serve(after(300*time.Millisecond, served(iss)))
		tokens := make([]string, 50)
		for i := range tokens {
			tokens[i] = iss.Token(billing)
		}
		for _, err := range together(50, func(i int) error { return check(t, checker, tokens[i]) }) {
			wantAccepted(t, err)
		}
		if l.count() != 1 {
			t.Fatalf("%d fetches", l.count())
		}
	})
}

func TestAFetchOfAListOutlivesTheCallerWhoStartedIt(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		wantAccepted(t, checker.Ready(t.Context()))
		l.serve(after(time.Second, served(iss)))
		raw := iss.Token(billing)
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := checker.Check(impatient, raw)
		wantUnavailable(t, err)
		wantAccepted(t, check(t, checker, raw))
		if l.count() != 1 {
			t.Fatalf("%d fetches", l.count())
		}
	})
}

func goodList(iss *sdktest.Issuer) sdktest.Claims {
	now := iss.Now().Unix()
	return sdktest.Claims{
		"iss": iss.URL(), "sub": iss.URL() + "/statuslists/1", "iat": now, "exp": now + 3600, "ttl": 3,
		"status_list": map[string]any{"bits": 2, "lst": smallList()},
	}
}

// wrongSum is a list whose checksum is off.
func wrongSum() string {
	raw, _ := base64.RawURLEncoding.DecodeString(smallList())
	raw[len(raw)-1]++
	return base64.RawURLEncoding.EncodeToString(raw)
}

// odd are answers that are no status list to rely on.
func odd(iss *sdktest.Issuer) map[string]func(*http.Request) (*http.Response, error) {
	const media = "application/statuslist+jwt"
	good := iss.StatusList()
	list := func(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
		return says(status, body, append([]string{"Content-Type", media}, header...)...)
	}
	signed := func(change func(claims map[string]any)) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			claims := goodList(iss)
			change(claims)
			return list(200, iss.MintWith(sdktest.Header{"typ": "statuslist+jwt"}, claims))(r)
		}
	}
	headed := func(name, value string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			return list(200, iss.MintWith(sdktest.Header{"typ": "statuslist+jwt", name: value}, goodList(iss)))(r)
		}
	}
	set := func(name string, value any) func(*http.Request) (*http.Response, error) {
		return signed(func(claims map[string]any) { claims[name] = value })
	}
	packed := func(bits any, lst string) func(*http.Request) (*http.Response, error) {
		return set("status_list", map[string]any{"bits": bits, "lst": lst})
	}
	return map[string]func(*http.Request) (*http.Response, error){
		"a good one":                            signed(func(map[string]any) {}),
		"no answer":                             cut,
		"an answer that never comes":            hangs,
		"500":                                   list(500, good),
		"404":                                   list(404, ""),
		"304 that was not asked for":            list(304, ""),
		"a redirect":                            list(307, "", "Location", "/statuslists/2"),
		"another media type":                    says(200, good, "Content-Type", "application/json"),
		"no media type":                         says(200, good),
		"an endless body":                       endless,
		"HTML":                                  list(200, "<html>"),
		"an access token":                       list(200, iss.Token(billing)),
		"another typ":                           headed("typ", "JWT"),
		"a forged signature":                    list(200, good[:len(good)-5]+"AAAAA"),
		"a truncated token":                     list(200, good[:len(good)/2]),
		"white space after it":                  list(200, good+"\n"),
		"alg none":                              headed("alg", "none"),
		"an unknown kid":                        headed("kid", "nobody"),
		"iss of somebody else":                  set("iss", "https://evil.example.com"),
		"sub of another list":                   set("sub", iss.URL()+"/statuslists/2"),
		"expired":                               set("exp", iss.Now().Unix()-3600),
		"exp missing":                           signed(func(c map[string]any) { delete(c, "exp") }),
		"ttl missing":                           signed(func(c map[string]any) { delete(c, "ttl") }),
		"ttl negative":                          set("ttl", -3),
		"ttl a fraction":                        set("ttl", 0.5),
		"status_list missing":                   signed(func(c map[string]any) { delete(c, "status_list") }),
		"3 bits":                                packed(3, smallList()),
		"0 bits":                                packed(0, smallList()),
		"lst without zlib":                      packed(2, "AAAA"),
		"lst with padding":                      packed(2, smallList()+"=="),
		"lst cut off":                           packed(2, smallList()[:8]),
		"lst of zlib with a wrong checksum":     packed(2, wrongSum()),
		"lst that grows beyond any bound":       packed(2, hugeList()),
		"a list shorter than the token's index": packed(2, noList()),
	}
}

func TestAListThatCannotBeHadIsUnavailableNotRefused(t *testing.T) {
	iss := start(t)
	iss.TrackStatus(ttl)
	for name := range odd(iss) {
		t.Run(name, func(t *testing.T) {
			withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
				raw := iss.Token(billing)
				l.serve(odd(iss)[name])
				switch name {
				case "a good one": // to see that the others are odd for one reason only
					wantAccepted(t, check(t, checker, raw))
					return
				case "a list shorter than the token's index": // what the issuer says of this token
					wantRefused(t, check(t, checker, raw))
					return
				}
				wantUnavailable(t, check(t, checker, raw))
				wantUnavailable(t, check(t, checker, raw)) // though it is remembered now

				l.serve(served(iss))
				time.Sleep(time.Second)
				wantAccepted(t, check(t, checker, raw))

				l.serve(odd(iss)[name])
				time.Sleep(ttl - 1)
				wantAccepted(t, check(t, checker, raw)) // known lately enough
				time.Sleep(time.Nanosecond)
				if name != "304 that was not asked for" { // now it was
					wantUnavailable(t, check(t, checker, raw))
				}
			})
		})
	}
}

func TestAfterAFailureAListIsLeftAloneForASecond(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		l.serve(cut)
		for range 100 {
			wantUnavailable(t, check(t, checker, iss.Token(billing)))
			time.Sleep(100 * time.Millisecond)
		}
		if n := l.count(); n < 9 || n > 10 {
			t.Fatalf("%d fetches in ten seconds", n)
		}
	})
}

func TestMaxStatusAgeIsTheCallersChoice(t *testing.T) {
	older := func(c *sdk.CheckerConfig) { c.MaxStatusAge = time.Minute }
	withStatus(t, older, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		raw := iss.Token(billing)
		wantAccepted(t, check(t, checker, raw))
		l.serve(cut)
		time.Sleep(time.Minute - 1)
		wantAccepted(t, check(t, checker, raw))
		time.Sleep(time.Nanosecond)
		wantUnavailable(t, check(t, checker, raw))
	})
	withStatus(t, older, func(t *testing.T, iss *sdktest.Issuer, _ *lists, checker *sdk.Checker) {
		raw := iss.Token(billing)
		wantAccepted(t, check(t, checker, raw))
		iss.Revoke(raw)
		time.Sleep(ttl)
		wantAccepted(t, check(t, checker, raw)) // asks behind its back all the same
		synctest.Wait()
		wantRefused(t, check(t, checker, raw))
	})
}

func TestFailingOpenIsTheCallersChoice(t *testing.T) {
	open := func(c *sdk.CheckerConfig) { c.StatusFailOpen = true }
	withStatus(t, open, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		good, bad := iss.Token(billing), iss.Token(billing)
		l.serve(cut)
		wantAccepted(t, check(t, checker, good))
		l.serve(served(iss))
		iss.Revoke(bad)
		time.Sleep(time.Second)
		wantRefused(t, check(t, checker, bad))
		l.serve(cut)
		time.Sleep(2 * time.Minute)
		wantAccepted(t, check(t, checker, good))
		wantRefused(t, check(t, checker, bad)) // by the last list that was had
	})
}

func TestAnOlderListIsNotTaken(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		raw := iss.Token(billing)
		old := iss.StatusList()
		iss.Revoke(raw)
		wantRefused(t, check(t, checker, raw))
		l.serve(says(200, old, "Content-Type", "application/statuslist+jwt"))
		time.Sleep(ttl)
		wantUnavailable(t, check(t, checker, raw))
	})
}

func TestAListExpiresWhateverItsAge(t *testing.T) {
	withStatus(t, func(c *sdk.CheckerConfig) { c.MaxStatusAge = 24 * time.Hour }, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		l.serve(cut)
		time.Sleep(time.Hour + 29*time.Second)
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		time.Sleep(time.Second)
		wantUnavailable(t, check(t, checker, iss.Token(billing)))
	})
}

func TestATokenSendsUsNowhereButToTheIssuer(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		n := l.count()
		for _, uri := range []string{
			"https://evil.example.com/statuslists/1", strings.Replace(iss.URL(), "127.0.0.1", "127.0.0.2", 1) + "/statuslists/1",
			iss.URL() + "@evil.example.com/statuslists/1", iss.URL() + ".evil.example.com/statuslists/1", strings.Replace(iss.URL(), "http:", "https:", 1),
			iss.URL() + "/statuslists/1?x", iss.URL() + "/statuslists/1#x", "file:///etc/passwd", "//evil.example.com", "statuslists/1", "",
		} {
			raw := claim("status", map[string]any{"status_list": map[string]any{"idx": 0, "uri": uri}})(iss)
			wantRefused(t, check(t, checker, raw))
		}
		if l.count() != n {
			t.Fatal("somewhere was asked")
		}
	})
}

func TestAStatusIsReadStrictly(t *testing.T) {
	iss := startAtNoon(t)
	iss.TrackStatus(ttl)
	at := func(index string) mint {
		return claim("status", map[string]any{"status_list": map[string]any{"idx": json.RawMessage(index), "uri": iss.URL() + "/statuslists/1"}})
	}
	checkRows(t, iss, iss.CheckerConfig(billing), map[string]row{
		"an index of the list is accepted": {at("0"), ""},
		"null":                             {claim("status", json.RawMessage("null")), "claims"},
		"an index that is negative":        {at("-1"), "claims"},
		"an index that is a fraction":      {at("1.5"), "claims"},
		"an index that is a string":        {at(`"1"`), "claims"},
		"an index beyond the list":         {at("9000000000000000000"), "status"},
		"a status in some other way":       {claim("status", map[string]any{"identifier_list": map[string]any{"id": "x"}}), "claims"},
		"a status that says nothing":       {claim("status", map[string]any{}), "claims"},
		"a status list without an index":   {claim("status", map[string]any{"status_list": map[string]any{"uri": iss.URL() + "/statuslists/1"}}), "claims"},
		"a status list without a uri":      {claim("status", map[string]any{"status_list": map[string]any{"idx": 1}}), "claims"},
	})
}
