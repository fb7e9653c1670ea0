package sdk_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
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

// answer writes what comes back for a request; then the connection is closed.
type answer = func(w *caller, iss *sdktest.Issuer)

// caller is who asked.
type caller struct {
	io.Writer
	gone chan struct{}
}

// chaos is an issuer that speaks through net/http's own transport, byte by byte.
type chaos struct {
	*http.Transport
	mu   sync.Mutex
	next answer
}

func (c *chaos) set(next answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = next
}

func (c *chaos) answer(w *caller, iss *sdktest.Issuer) {
	c.mu.Lock()
	next := c.next
	c.mu.Unlock()
	next(w, iss)
}

func newChaos(iss *sdktest.Issuer) *chaos {
	c := &chaos{Transport: &http.Transport{MaxResponseHeaderBytes: 1 << 20}} // the default is 10 MB
	c.DialContext = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			r := bufio.NewReader(theirs)
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				io.Copy(io.Discard, r)
			}()
			c.answer(&caller{theirs, gone}, iss)
		}()
		return ours, nil
	}
	return c
}

func writes(format string, args ...any) answer {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n")
	return func(w *caller, _ *sdktest.Issuer) { io.WriteString(w, text) }
}

func andSilence(first answer) answer {
	return func(w *caller, iss *sdktest.Issuer) {
		first(w, iss)
		<-w.gone
	}
}

// andThen goes on until nobody listens.
func andThen(first answer, pause time.Duration, again string) answer {
	return func(w *caller, iss *sdktest.Issuer) {
		first(w, iss)
		for {
			if _, err := io.WriteString(w, again); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
}

func withSet(head string, edit func(set string) string) answer {
	return func(w *caller, iss *sdktest.Issuer) {
		set := edit(string(iss.KeySet()))
		head := strings.ReplaceAll(head, "\n", "\r\n")
		if strings.Contains(head, "%d") {
			head = fmt.Sprintf(head, len(set))
		}
		io.WriteString(w, head+set)
	}
}

func gzipped(w *caller, from io.Reader) {
	writes("HTTP/1.1 200 OK\nContent-Encoding: gzip\n\n")(w, nil)
	z := gzip.NewWriter(w)
	io.Copy(z, from)
	z.Close()
}

func inGzip(edit func(set string) string) answer {
	return func(w *caller, iss *sdktest.Issuer) { gzipped(w, strings.NewReader(edit(string(iss.KeySet())))) }
}

func asItIs(set string) string { return set }

func padTo(n int) func(set string) string {
	return func(set string) string { return set + strings.Repeat(" ", max(0, n-len(set))) }
}

const ok = "HTTP/1.1 200 OK\nContent-Length: %d\n\n"

var good = map[string]answer{
	"a set":                      withSet(ok, asItIs),
	"HTTP/1.0, without length":   withSet("HTTP/1.0 200 OK\n\n", asItIs),
	"in gzip":                    inGzip(padTo(0)),
	"in gzip, as long as may be": inGzip(padTo(512 << 10)),
	"as long as may be":          withSet(ok, padTo(512<<10)),
	"after some hints":           withSet(strings.Repeat("HTTP/1.1 103 Early Hints\n\n", 3)+ok, asItIs),
	"with headers of nonsense":   withSet("HTTP/1.1 200 OK\nContent-Length: %d\nCache-Control: ,=,max-age,max-age=x;\"\nAge: -1e9\nETag: \"\xff\"\n\n", asItIs),
	"of odd keys and ours": withSet(ok, func(set string) string {
		return strings.Replace(set, `[`, `[{"kty":"AKP"},null,7,"x",[],{},{"kty":"RSA","n":"","e":""},`, 1)
	}),
	"with more behind it": withSet("HTTP/1.1 200 OK\nContent-Length: %d\n\n", asItIs),
}

var bad = map[string]answer{
	"nothing":                        writes(""),
	"silence":                        andSilence(writes("")),
	"headers that stop":              andSilence(writes("HTTP/1.1 200 OK\nA: b")),
	"headers that drip":              andThen(writes("HTTP/1.1 200 OK\n"), 200*time.Millisecond, "A: b\r\n"),
	"headers without end":            andThen(writes("HTTP/1.1 200 OK\n"), 0, strings.Repeat("A: b\r\n", 1000)),
	"hints without end":              andThen(writes(""), 0, strings.Repeat("HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n", 1000)),
	"a body that stops":              andSilence(withSet("HTTP/1.1 200 OK\nContent-Length: 1000\n\n", asItIs)),
	"a body that drips":              andThen(writes("HTTP/1.1 200 OK\n\n"), 200*time.Millisecond, " "),
	"a body without end":             andThen(writes("HTTP/1.1 200 OK\n\n"), 0, strings.Repeat(" ", 32<<10)),
	"chunks without end":             andThen(writes("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n"), 0, "4000\r\n"+strings.Repeat(" ", 16<<10)+"\r\n"),
	"50 MB":                          andThen(writes("HTTP/1.1 200 OK\nContent-Length: 52428800\n\n"), 0, strings.Repeat(" ", 32<<10)),
	"a gzip bomb":                    func(w *caller, _ *sdktest.Issuer) { gzipped(w, zeros{}) },
	"a set of a byte too much":       withSet(ok, padTo(512<<10+1)),
	"such a set in gzip":             inGzip(padTo(512<<10 + 1)),
	"gzip that is none":              withSet("HTTP/1.1 200 OK\nContent-Encoding: gzip\n\n", asItIs),
	"less than promised":             withSet("HTTP/1.1 200 OK\nContent-Length: 100000\n\n", asItIs),
	"more than promised":             withSet("HTTP/1.1 200 OK\nContent-Length: 20\nConnection: close\n\n", asItIs),
	"a length below zero":            withSet("HTTP/1.1 200 OK\nContent-Length: -1\n\n", asItIs),
	"two lengths":                    withSet("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\n", asItIs),
	"chunks that are none":           withSet("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz\n", asItIs),
	"HTTP/0.9":                       withSet("", asItIs),
	"another protocol":               writes("SSH-2.0-OpenSSH_9.9\n"),
	"a redirect to itself":           writes("HTTP/1.1 302 Found\nLocation: /.well-known/jwks.json\nContent-Length: 0\n\n"),
	"204":                            writes("HTTP/1.1 204 No Content\n\n"),
	"206":                            withSet("HTTP/1.1 206 Partial Content\nContent-Length: %d\n\n", asItIs),
	"304, unasked":                   writes("HTTP/1.1 304 Not Modified\nETag: \"v1\"\n\n"),
	"a status that does not exist":   withSet("HTTP/1.1 999 OK\nContent-Length: %d\n\n", asItIs),
	"a switch of protocols, unasked": writes("HTTP/1.1 101 Switching Protocols\nUpgrade: x\nConnection: upgrade\n\n"),
}

// inChaos gives a test a checker of an issuer that answers with the set.
func inChaos(t *testing.T, test func(t *testing.T, iss *sdktest.Issuer, c *chaos, checker *sdk.Checker)) {
	t.Helper()
	iss := start(t)
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
		c := newChaos(iss)
		c.set(good["a set"])
		config := iss.CheckerConfig(billing)
		config.HTTPClient = &http.Client{Transport: c}
		test(t, iss, c, newChecker(t, config))
		time.Sleep(time.Minute)
		c.CloseIdleConnections()
	})
}

func TestASetIsTakenIfItIs(t *testing.T) {
	for name, answer := range good {
		t.Run(name, func(t *testing.T) {
			inChaos(t, func(t *testing.T, iss *sdktest.Issuer, c *chaos, checker *sdk.Checker) {
				c.set(answer)
				wantAccepted(t, check(t, checker, iss.Token(billing)))
			})
		})
	}
}

func TestNoAnswerTakesAGoodKeyAwayOrMoreThanThreeSecondsAndSomeMegabytes(t *testing.T) {
	for name, answer := range bad {
		t.Run(name, func(t *testing.T) {
			inChaos(t, func(t *testing.T, iss *sdktest.Issuer, c *chaos, checker *sdk.Checker) {
				wantAccepted(t, check(t, checker, iss.Token(billing)))
				c.set(answer)
				time.Sleep(5 * time.Minute)
				began, before := time.Now(), allocated()
				wantAccepted(t, check(t, checker, iss.Token(billing))) // and has the set refreshed
				if took := time.Since(began); took > 0 {
					t.Fatalf("waited %v", took)
				}
				wantUnavailable(t, check(t, checker, forgedKid(iss, 1)))
				if took := time.Since(began); took > 3*time.Second {
					t.Fatalf("the refresh took %v", took)
				}
				if grown := allocated() - before; grown > 32<<20 {
					t.Fatalf("%d MB were allocated", grown>>20)
				}
				wantAccepted(t, check(t, checker, iss.Token(billing)))
				c.set(good["a set"])
				iss.Rotate(sdk.EdDSA)
				wantAccepted(t, check(t, checker, iss.Token(billing)))
			})
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
