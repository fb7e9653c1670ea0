package httpapi_test

import (
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

var changing = cmpopts.IgnoreMapEntries(func(k string, _ any) bool { return k == "time" || k == "duration" })

func checkLine(t *testing.T, got, want map[string]any) {
	t.Helper()
	if diff := cmp.Diff(want, got, changing); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if d, ok := got["duration"].(float64); !ok || d <= 0 {
		t.Errorf("duration %v", got["duration"])
	}
}

func TestOneLineForEveryExchange(t *testing.T) {
	w := newWorld(t)
	id, key := w.newKey(manage.NewKey{Owner: "user_42", Remaining: uses(1)})
	got := w.exchange(form(key))
	line := w.lastLine()
	kid, _ := line["kid"].(string)
	if set := w.get(wire.PathJWKS).body; kid == "" || !strings.Contains(set, kid) {
		t.Errorf("kid %q is not in %s", kid, set)
	}
	checkLine(t, line, map[string]any{
		"level": "INFO", "msg": "exchanged", "key_id": string(id), "client": w.clientID, "audience": orders,
		"kid": kid, "jti": claims(t, got.ok.AccessToken).ID, "remote": "192.0.2.1",
	})
	if n := strings.Count(w.logs.String(), "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}

	w.exchange(form(key))
	checkLine(t, w.lastLine(), map[string]any{
		"level": "INFO", "msg": "refused", "key_id": string(id), "client": w.clientID, "audience": orders, "remote": "192.0.2.1",
		"outcome": "invalid_request", "reason": "spent", "status": 429.0,
	})
	w.exchange(form(key, "audience", "https://evil.example.com"))
	checkLine(t, w.lastLine(), map[string]any{
		"level": "INFO", "msg": "refused", "key_id": string(id), "client": w.clientID, "remote": "192.0.2.1",
		"outcome": "invalid_target", "status": 400.0,
	})
	if n := strings.Count(w.logs.String(), "\n"); n != 3 {
		t.Errorf("%d lines", n)
	}
}

func TestOfAStrangerTheLogRepeatsNothingButAnIdThatWeKnow(t *testing.T) {
	w := newWorld(t)
	for id, logged := range map[string]any{
		"nobody":                   nil,
		w.clientID:                 w.clientID,
		strings.Repeat("a", 999):   nil,
		"a\nb":                     nil,
		w.secret:                   nil, // id and secret mixed up
		w.secret[:len(w.secret)-1]: nil, // from which the rest can be computed
	} {
		r := w.post(form("x", "client_id", id, "client_secret", keepSecret("a wrong secret")).Encode())
		r.Header.Del("Authorization")
		w.want(w.do(r), 401, "invalid_client")
		want := map[string]any{"level": "INFO", "msg": "refused", "outcome": "invalid_client", "status": 401.0, "remote": "192.0.2.1"}
		if logged != nil {
			want["claimed_client"] = logged
		}
		checkLine(t, w.lastLine(), want)
	}
}

func TestForwardedHeadersAreBelievedFromTrustedProxiesOnly(t *testing.T) {
	tests := map[string]struct {
		trusted []string
		remote  string
		forward []string
		want    string
	}{
		"nobody is trusted by default":                  {nil, "192.0.2.1:1", []string{"203.0.113.9"}, "192.0.2.1"},
		"not even this machine":                         {nil, "127.0.0.1:1", []string{"203.0.113.9"}, "127.0.0.1"},
		"a trusted proxy is believed":                   {[]string{"10.0.0.0/8"}, "10.1.2.3:1", []string{"203.0.113.9"}, "203.0.113.9"},
		"another peer is not":                           {[]string{"10.0.0.0/8"}, "192.0.2.1:1", []string{"203.0.113.9"}, "192.0.2.1"},
		"private networks are not trusted by nature":    {[]string{"10.0.0.0/8"}, "192.168.0.1:1", []string{"203.0.113.9"}, "192.168.0.1"},
		"what the client itself wrote is passed over":   {[]string{"10.0.0.0/8"}, "10.1.2.3:1", []string{"198.51.100.7, 203.0.113.9"}, "203.0.113.9"},
		"a chain of trusted proxies is followed":        {[]string{"10.0.0.0/8"}, "10.1.2.3:1", []string{"203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		"also over several headers":                     {[]string{"10.0.0.0/8"}, "10.1.2.3:1", []string{"203.0.113.9", "10.9.9.9"}, "203.0.113.9"},
		"nonsense is not believed":                      {[]string{"10.0.0.0/8"}, "10.1.2.3:1", []string{"key=secret"}, "10.1.2.3"},
		"a proxy of version 6":                          {[]string{"2001:db8::/32"}, "[2001:db8::1]:1", []string{"2001:db9::7"}, "2001:db9::7"},
		"X-Real-IP and Forwarded are nobody's business": {[]string{"10.0.0.0/8"}, "10.1.2.3:1", nil, "10.1.2.3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{config: func(cfg *setup) {
				for _, p := range test.trusted {
					cfg.TrustedProxies = append(cfg.TrustedProxies, netip.MustParsePrefix(p))
				}
			}})
			r := w.post(form("x").Encode())
			r.RemoteAddr = test.remote
			r.Header["X-Forwarded-For"] = test.forward
			r.Header.Set("X-Real-IP", "203.0.113.66")
			r.Header.Set("Forwarded", "for=203.0.113.66")
			w.do(r)
			if got := w.lastLine()["remote"]; got != test.want {
				t.Errorf("remote %v, want %s", got, test.want)
			}
		})
	}
}

type slowReader struct{}

func (slowReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
func (slowReader) Close() error             { return nil }

func TestABodyThatTakesTooLongIsRefused(t *testing.T) {
	w := newWorld(t)
	r := w.post("")
	r.Body, r.ContentLength = slowReader{}, -1
	w.want(w.do(r), http.StatusRequestTimeout, "invalid_request")
}
