package sdk_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

const billing = "https://billing.example.com"

// startAtNoon starts an issuer whose clock stands at noon.
func startAtNoon(t *testing.T) *sdktest.Issuer {
	t.Helper()
	iss := start(t)
	iss.SetTime(noon)
	return iss
}

func start(t *testing.T) *sdktest.Issuer {
	t.Helper()
	iss := sdktest.Start()
	t.Cleanup(iss.Close)
	return iss
}

func newChecker(t *testing.T, config sdk.CheckerConfig) *sdk.Checker {
	t.Helper()
	checker, err := sdk.NewChecker(config)
	if err != nil {
		t.Fatal(err)
	}
	return checker
}

func newClient(t *testing.T, config sdk.ClientConfig) *sdk.Client {
	t.Helper()
	client, err := sdk.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// wire is a transport without a network, so that virtual time reaches through it.
// It counts the requests, and hands each to the handler, which may be changed.
type wire struct {
	mu      sync.Mutex
	times   []time.Time
	headers []http.Header
	handle  func(*http.Request) (*http.Response, error)
}

func newWire(handle func(*http.Request) (*http.Response, error)) *wire {
	return &wire{handle: handle}
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.times = append(w.times, time.Now())
	w.headers = append(w.headers, r.Header.Clone())
	handle := w.handle
	w.mu.Unlock()
	return handle(r)
}

func (w *wire) set(handle func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handle = handle
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.times)
}

func (w *wire) header(i int) http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.headers[i]
}

func (w *wire) client() *http.Client { return &http.Client{Transport: w} }

// served answers by handler, in this process.
func served(handler http.Handler) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		return recorder.Result(), r.Context().Err()
	}
}

// after answers like next, once d has passed.
func after(d time.Duration, next func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return next(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// says answers with a status, a body, and headers in pairs.
func says(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		resp := &http.Response{
			StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
		}
		for i := 0; i < len(header); i += 2 {
			resp.Header.Add(header[i], header[i+1])
		}
		return resp, nil
	}
}

// oauthError answers an exchange so, and an online call to the same effect.
func oauthError(status int, code, reason string, header ...string) func(*http.Request) (*http.Response, error) {
	body, _ := json.Marshal(map[string]string{"error": code, "reason": reason})
	exchange, online := says(status, string(body), header...), says(status, string(body), header...)
	switch {
	case code == "invalid_target":
		online = turnsDown("audience")
	case code == "invalid_request" && status == 400:
		online = turnsDown("invalid")
	case code == "invalid_request":
		online = turnsDown(reason, header...)
	}
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/v1/keys/verify" {
			return online(r)
		}
		return exchange(r)
	}
}

// turnsDown answers an online call with a refusal.
func turnsDown(code string, header ...string) func(*http.Request) (*http.Response, error) {
	return says(200, `{"valid":false,"code":"`+code+`","key":null}`, header...)
}

// handler answers a request in place of a network.
type handler = func(*http.Request) (*http.Response, error)

func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func cut(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func wantRefused(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, sdk.ErrRefused) || errors.Is(err, sdk.ErrUnavailable) {
		t.Fatalf("got %v, want refused", err)
	}
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, sdk.ErrUnavailable) || errors.Is(err, sdk.ErrRefused) {
		t.Fatalf("got %v, want unavailable", err)
	}
}

func wantAccepted(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("got %v, want accepted", err)
	}
}

// emptyList is a packed status list of size bytes, all zero.
func emptyList(size int) string {
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, _ = w.Write(make([]byte, size))
	_ = w.Close()
	return base64.RawURLEncoding.EncodeToString(packed.Bytes())
}

// Status lists of some sizes; the huge one unpacks to more than any list may.
var (
	noList    = sync.OnceValue(func() string { return emptyList(0) })
	smallList = sync.OnceValue(func() string { return emptyList(16) })
	hugeList  = sync.OnceValue(func() string { return emptyList(5 << 20) })
)
