package sdk

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// fetched is the answer to a request for the key set.
type fetched struct {
	keys   map[string]*publicKey // nil: not modified
	body   []byte                // what the keys were read from
	etag   string
	maxAge time.Duration // clamped
}

// How long a key set is fresh, whatever its Cache-Control says.
const (
	minMaxAge     = 30 * time.Second
	defaultMaxAge = 5 * time.Minute
	longestMaxAge = time.Hour
)

// fetchKeySet gets the key set from where, unless it still has etag.
func fetchKeySet(ctx context.Context, client *http.Client, where, etag string) (fetched, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return fetched{}, err
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fetched{}, err
	}
	defer func() { _ = resp.Body.Close() }()

	got := fetched{etag: resp.Header.Get("ETag"), maxAge: maxAge(resp.Header)}
	if resp.StatusCode == http.StatusNotModified && etag != "" {
		got.etag = etag
		return got, nil
	}
	if resp.StatusCode != http.StatusOK {
		return fetched{}, fmt.Errorf("%s answers %d", where, resp.StatusCode)
	}
	if got.body, err = readAtMost(resp.Body, maxKeySet); err != nil {
		return fetched{}, fmt.Errorf("%s: %w", where, err)
	}
	if got.keys, err = readKeySet(got.body); err != nil {
		return fetched{}, fmt.Errorf("%s: %w", where, err)
	}
	return got, nil
}

// readAtMost reads all of r, or fails once that is more than limit bytes.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("body over %d bytes", limit)
	}
	return body, err
}

// maxAge is the freshness lifetime left (RFC 9111 §4.2), clamped.
func maxAge(h http.Header) time.Duration {
	age := defaultMaxAge
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				age = time.Duration(n) * time.Second
			}
		case "no-store", "no-cache":
			return minMaxAge
		}
	}
	if n, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		age -= time.Duration(n) * time.Second
	}
	return min(max(age, minMaxAge), longestMaxAge)
}

// noRedirects copies client, so that it follows none and keeps no cookies: keys
// come from the configured place, and credentials go nowhere else.
func noRedirects(client *http.Client) *http.Client {
	own := http.Client{}
	if client != nil {
		own = *client
	}
	own.Jar = nil
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// checkURL accepts https, and plain http where nobody is in between.
func checkURL(field, raw string, allowHTTP bool) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return fmt.Errorf("%s is required", field)
	case err != nil, u.Host == "", u.User != nil, strings.ContainsAny(raw, "?#"):
		return fmt.Errorf("%s must be an absolute URL without user, query or fragment", field)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (allowHTTP || isLoopback(u.Hostname())):
		return nil
	}
	return fmt.Errorf("%s must be https (AllowHTTP permits http beyond loopback)", field)
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
