package httpapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// raw sends bytes as they are, and returns the statuses of all answers until the server
// has nothing more to say. Only a server that hangs keeps it waiting.
func (r *running) raw(t *testing.T, text string) (statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	go func() { // which the server may cut off
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	answers := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the server hangs after %d answers", len(statuses))
			}
			return statuses
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
}

// tokenRequest is a request with a form, headers and a body, each as given.
func tokenRequest(headers, body string) string {
	return "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n" + headers + "\r\n" + body
}

func ofLength(body string) string {
	return tokenRequest(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body)
}

func TestWhatNoClientSendsIsRefusedOrCutOff(t *testing.T) {
	w := newWorld(t)
	r := w.run()
	filler := strings.Repeat("x", 16<<10)
	const chunked = "Transfer-Encoding: chunked\r\n"
	for name, test := range map[string]struct {
		sent string
		want []int // one of these, or no answer; none: 400
	}{
		"nothing":                               {"", nil},
		"no HTTP":                               {"\x16\x03\x01\x02\x00\x01\x00", nil},
		"a request line of one word":            {"POST\r\n\r\n", nil},
		"an endless request line":               {"GET /" + filler + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{414, 431}},
		"an endless header":                     {tokenRequest("X: "+filler+"\r\n", ""), []int{431}},
		"a thousand headers":                    {tokenRequest(strings.Repeat("X: yyyyyyyyyyyyyyy\r\n", 1000), ""), []int{431}},
		"a NUL in a header":                     {tokenRequest("X: a\x00b\r\n", ""), nil},
		"a NUL in the target":                   {"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		"control bytes in the method":           {"G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		"control bytes in the target":           {"GET /v1/keys\x7f HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		"an encoded NUL in the target":          {"GET /v1/keys/%00 HTTP/1.1\r\nHost: x\r\n\r\n", []int{401, 404}},
		"a carriage return alone in a header":   {tokenRequest("X: a\rY: b\r\n", ""), nil},
		"a space before a colon":                {tokenRequest("Content-Length : 0\r\n", ""), nil},
		"a header without a name":               {tokenRequest(": x\r\n", ""), nil},
		"no Host":                               {"GET / HTTP/1.1\r\n\r\n", nil},
		"two Hosts":                             {tokenRequest("Host: y\r\n", ""), nil},
		"a Host that is none":                   {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", nil},
		"two lengths":                           {tokenRequest("Content-Length: 3\r\nContent-Length: 4\r\n", "a=b&"), nil},
		"two lengths in one":                    {tokenRequest("Content-Length: 3, 4\r\n", "a=b"), nil},
		"a negative length":                     {tokenRequest("Content-Length: -1\r\n", ""), nil},
		"a length with a sign":                  {tokenRequest("Content-Length: +3\r\n", "a=b"), nil},
		"a length beyond all numbers":           {tokenRequest("Content-Length: 99999999999999999999\r\n", ""), nil},
		"a length beyond the bound":             {tokenRequest("Content-Length: 1000000000000\r\n", "a=b"), []int{413}},
		"a body beyond the bound":               {ofLength(filler + "xx"), []int{413}},
		"chunks beyond the bound":               {tokenRequest(chunked, "8000\r\n"+filler+filler+"\r\n0\r\n\r\n"), []int{413}},
		"a body that ends too early":            {tokenRequest("Content-Length: 100\r\n", "a=b"), nil},
		"chunks without an end":                 {tokenRequest(chunked, "3\r\na=b\r\n"), nil},
		"a chunk of no size":                    {tokenRequest(chunked, "zz\r\na=b\r\n0\r\n\r\n"), nil},
		"a chunk beyond all numbers":            {tokenRequest(chunked, "fffffffffffffffff\r\na=b\r\n0\r\n\r\n"), nil},
		"a chunk that is longer than it says":   {tokenRequest(chunked, "3\r\na=bcd\r\n0\r\n\r\n"), nil},
		"endless extensions of chunks":          {tokenRequest(chunked, strings.Repeat("1;"+filler[:4000]+"\r\na\r\n", 20)), nil},
		"an endless trailer":                    {tokenRequest(chunked, "0\r\nX: "+filler+"\r\n\r\n"), []int{400, 431}},
		"a transfer coding that nobody knows":   {tokenRequest("Transfer-Encoding: gzip, chunked\r\n", ""), []int{501}}, // RFC 9112 §6.1
		"chunked twice":                         {tokenRequest("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"two transfer codings":                  {tokenRequest(chunked+"Transfer-Encoding: identity\r\n", "0\r\n\r\n"), []int{400, 501}},
		"chunked in disguise":                   {tokenRequest("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"a version that nobody knows":           {"GET / HTTP/3.7\r\nHost: x\r\n\r\n", []int{505}}, // RFC 9110 §15.6.6
		"the preface of HTTP/2 in the clear":    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{400, 404, 505}},
		"two credentials":                       {tokenRequest("Authorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\nContent-Length: 3\r\n", "a=b"), nil},
		"two types":                             {tokenRequest("Content-Type: text/plain\r\nContent-Length: 3\r\n", "a=b"), []int{415}},
		"a body that says it is compressed":     {tokenRequest("Content-Encoding: gzip\r\nContent-Length: 3\r\n", "a=b"), []int{415}},
		"a body that is compressed":             {ofLength("\x1f\x8b\x08\x00\x00\x00\x00\x00"), nil},
		"an expectation that nobody knows":      {tokenRequest("Expect: miracle\r\nContent-Length: 3\r\n", "a=b"), []int{417}},
		"another host in the target":            {"GET http://evil.example.com/v1/keys HTTP/1.1\r\nHost: x\r\n\r\n", []int{401}},
		"a target that is no path":              {"GET x:y HTTP/1.1\r\nHost: x\r\n\r\n", []int{400, 404}},
		"a user in the target":                  {"GET http://a:b@x/v1/keys HTTP/1.1\r\nHost: x\r\n\r\n", []int{401}},
		"a tunnel":                              {"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", []int{404, 405}},
		"the options of everything":             {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", []int{404}},
		"an upgrade of a request without login": {"GET /v1/keys HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", []int{401}},
		"a path out of the root":                {"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", []int{404}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := test.want
			if want == nil {
				want = []int{400}
			}
			got := r.raw(t, test.sent)
			if len(got) > 1 || len(got) == 1 && !slices.Contains(want, got[0]) {
				t.Errorf("answered %v, want %v or nothing", got, want)
			}
		})
	}
}

func TestNoRequestIsSmuggledInAnother(t *testing.T) {
	w := newWorld(t)
	r := w.run()
	_, key := w.newKey(manage.NewKey{})
	const smuggled = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, test := range map[string]struct{ headers, body string }{
		"by a length beside chunks":   {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
		"by chunks beside a length":   {"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n", "0\r\n\r\n"},
		"by a chunk of hidden length": {"Transfer-Encoding: chunked\r\n", "0x5\r\na=bcd\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			// A proxy that goes by the length may take what follows for a part of this
			// request; then it is one, and its own answer is all there is, or it is
			// answered as what it says, as a request of nobody in particular.
			got := r.raw(t, tokenRequest(test.headers, test.body)+smuggled)
			if len(got) == 0 || len(got) > 2 || got[0] < 400 || got[0] > 499 {
				t.Errorf("answered %v", got)
			}
		})
	}
	t.Run("and what stands in a body is no request", func(t *testing.T) {
		body := form(key).Encode() + "&x=" + url.QueryEscape(smuggled) + "\r\n" + smuggled
		if got := r.raw(t, ofLength(body)); len(got) != 1 {
			t.Errorf("answered %v", got)
		}
	})
}

func TestHostileValuesOfAnAuthenticatedClientAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, value := range []string{"\x00", "\xff", "a\x00b", "\u202e", strings.Repeat("x", 8<<10), "eyJ.a.b", "ck_\x00", "%00", "'; DROP TABLE keys; --"} {
		for _, field := range []string{
			wire.FieldSubjectToken, wire.FieldAudience, wire.FieldResource, wire.FieldScope, wire.FieldKeyspace, wire.FieldCost,
			wire.FieldGrantType, wire.FieldClientID, wire.FieldClientSecret, wire.FieldRequestedTokenType, "x",
		} {
			got := w.exchange(form("ck_nobody", field, value))
			if got.code < 400 || got.code > 499 {
				t.Errorf("%s=%q: %v", field, value, got)
			}
		}
	}
}

// public are the paths that anybody may read, below the issuer's.
var public = []string{
	wire.PathJWKS, wire.PathStatusLists, wire.PathStatusLists + "/:list", wire.PathOAuthServer, wire.PathOpenID, wire.PathOpenAPI,
}

func TestEveryOtherRouteNeedsAuthentication(t *testing.T) {
	w := newWorld(t)
	known := 0
	for method, path := range w.server.Routes() {
		if slices.Contains(public, path) {
			known++
			if method != http.MethodGet && method != http.MethodHead {
				t.Errorf("anybody may %s %s", method, path)
			}
			continue
		}
		for _, authorization := range []string{"", "Basic", "Basic " + "b3JkZXJzOndyb25n", "Bearer x"} {
			r := w.post(url.Values{wire.FieldToken: {"x"}}.Encode())
			r.Method = method
			r.URL.Path = strings.NewReplacer(":id", "key_1", ":name", "default", ":secret", "sec_1", ":kid", "k").Replace(path)
			r.Header.Set("Authorization", authorization)
			if authorization == "" {
				r.Header.Del("Authorization")
			}
			if rec := w.serve(r); rec.Code != http.StatusUnauthorized || rec.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %q: %d %s", method, path, authorization, rec.Code, rec.Body)
			}
		}
	}
	if known < 2*len(public) {
		t.Errorf("%d public routes were seen", known)
	}
}
