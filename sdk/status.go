package sdk

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cambio-auth/cambio/internal/wire"
)

const (
	maxLists    = 256         // status lists remembered
	statusPause = time.Second // after a failed fetch, in real time
)

var errForeignList = refused("its status list is not at the issuer")

// statuses knows the issuer's status lists. A list is fetched when the first token
// refers to it, and again, conditionally, only while tokens are checked that
// refer to it: half way through its ttl behind their backs, after its end while
// they wait.
type statuses struct {
	issuer     string
	origin     string
	named      string // what the address of a list begins with
	where      string // what stands there instead when it is fetched
	algorithms []Algorithm
	keys       *keySet
	http       *http.Client
	now        func() time.Time
	leeway     time.Duration
	maxAge     time.Duration // relied on that long, if that is longer than the ttl
	failOpen   bool

	mu      sync.Mutex // makes sources one per URI
	sources *lru.Cache[string, *statusSource]
}

// statusSource is one list, wherever tokens refer to it.
type statusSource struct {
	uri    string
	list   atomic.Pointer[statusList] // nil: none was had yet
	mu     sync.Mutex
	flight *statusFetch // under way, or failed lately
}

// statusFetch is one request for a list, shared by all who wait for it.
type statusFetch struct {
	done  chan struct{}
	list  *statusList // readable after done, like the rest
	err   error
	ended time.Time // in real time
}

func newStatuses(config CheckerConfig, keys *keySet) (*statuses, error) {
	sources, err := lru.New[string, *statusSource](maxLists)
	if err != nil {
		return nil, err
	}
	named := strings.TrimSuffix(config.Issuer, "/") + wire.PathStatusLists
	where := named
	if config.StatusListURL != "" {
		where = strings.TrimSuffix(config.StatusListURL, "/")
	}
	return &statuses{
		issuer: config.Issuer, origin: origin(config.Issuer), named: named + "/", where: where + "/", algorithms: config.Algorithms,
		keys: keys, http: noRedirects(config.HTTPClient), now: config.Now, leeway: config.Leeway,
		maxAge: config.MaxStatusAge, failOpen: config.StatusFailOpen, sources: sources,
	}, nil
}

func origin(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// foreign reports whether uri is elsewhere than the issuer: a token is not to send
// us anywhere.
func (s *statuses) foreign(uri string) bool {
	return uri != "" && (origin(uri) != s.origin || strings.ContainsAny(uri, "?#@"))
}

// address is where the list at uri is fetched.
func (s *statuses) address(uri string) string {
	if id, ok := strings.CutPrefix(uri, s.named); ok {
		return s.where + id
	}
	return uri
}

// source returns the list at uri, nil if there is none.
func (s *statuses) source(uri string) *statusSource {
	if uri == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.sources.Get(uri); ok {
		return known
	}
	fresh := &statusSource{uri: uri}
	s.sources.Add(uri, fresh)
	return fresh
}

// check fails unless the status of v is known to be valid, lately enough. It
// wraps ErrUnavailable if the list cannot be had, and that is not forgiven.
func (s *statuses) check(ctx context.Context, v *verified, now time.Time) error {
	if v.status == nil {
		return nil
	}
	list := v.status.list.Load()
	if !s.relied(list, now) {
		fetched, err := s.wait(ctx, v.status)
		if err != nil && (!s.failOpen || ctx.Err() != nil) {
			return unavailable(err)
		}
		if err == nil {
			list = fetched
		}
		if list == nil {
			return nil
		}
	} else if now.Sub(list.asOf) >= list.ttl/2 && v.status.mu.TryLock() {
		s.takeOff(v.status)
		v.status.mu.Unlock()
	}
	return list.judge(v.statusIndex)
}

// relied reports whether list is one to rely on without asking again. A clock
// that went back does not make it young.
func (s *statuses) relied(list *statusList, now time.Time) bool {
	if list == nil || list.key.withdrawn.Load() || s.expired(list, now) {
		return false
	}
	age := now.Sub(list.asOf)
	return age < max(list.ttl, s.maxAge) && age > -time.Minute
}

func (s *statuses) expired(list *statusList, now time.Time) bool {
	return !now.Before(time.Unix(list.expiresAt, 0).Add(s.leeway))
}

// wait returns what the fetch under way brings, or the next. Giving up does not
// stop it: others may wait for it.
func (s *statuses) wait(ctx context.Context, src *statusSource) (*statusList, error) {
	src.mu.Lock()
	flight := s.takeOff(src)
	src.mu.Unlock()
	select {
	case <-flight.done:
		return flight.list, flight.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// takeOff returns the fetch under way, or one that failed a moment ago, or starts
// one. The caller holds src.mu.
func (s *statuses) takeOff(src *statusSource) *statusFetch {
	if f := src.flight; f != nil {
		select {
		case <-f.done:
			if f.err != nil && time.Since(f.ended) < statusPause {
				return f
			}
		default:
			return f
		}
	}
	f := &statusFetch{done: make(chan struct{})}
	src.flight = f
	go s.fly(src, f)
	return f
}

// fly ends within fetchTimeout, whoever waits.
func (s *statuses) fly(src *statusSource, f *statusFetch) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	list, err := s.fetch(ctx, src.uri, src.list.Load())
	if err == nil {
		src.list.Store(list)
	} else {
		// A list that is refused says nothing about the token that refers to it.
		err = fmt.Errorf("status list: %v", err) //nolint:errorlint // must not wrap ErrRefused
	}
	f.list, f.err, f.ended = list, err, time.Now()
	close(f.done)
}

// fetch gets the list at uri, unless it is still old (Token Status List §8.1).
func (s *statuses) fetch(ctx context.Context, uri string, old *statusList) (*statusList, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address(uri), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", wire.MediaStatusList)
	conditional := old != nil && old.etag != "" && !old.key.withdrawn.Load()
	if conditional {
		req.Header.Set("If-None-Match", old.etag)
	}
	asOf := s.now()
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNotModified && conditional {
		again := *old
		again.asOf = asOf
		if s.expired(&again, s.now()) {
			return nil, errors.New("expired")
		}
		s.keys.agree(again.keySet)
		return &again, nil
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK || media != wire.MediaStatusList {
		return nil, fmt.Errorf("%s answers %d, %q", s.address(uri), resp.StatusCode, media)
	}
	body, err := readAtMost(resp.Body, maxList)
	if err != nil {
		return nil, err
	}
	list, err := s.verify(ctx, string(body), uri)
	if err != nil {
		return nil, err
	}
	list.etag, list.asOf = resp.Header.Get("ETag"), asOf
	switch {
	case s.expired(list, s.now()):
		return nil, errors.New("expired")
	case old != nil && list.version < old.version:
		return nil, errors.New("older than the one before")
	}
	s.keys.agree(list.keySet)
	return list, nil
}

// verify reads a status list token, which the issuer must have signed like any
// other.
func (s *statuses) verify(ctx context.Context, raw, uri string) (*statusList, error) {
	token, err := statusToken.split(raw)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(s.algorithms, token.header.alg) {
		return nil, errAlg
	}
	key, err := s.keys.find(ctx, token.header.kid)
	if err != nil {
		return nil, err
	}
	if err := key.signed(token); err != nil {
		return nil, err
	}
	list, err := readStatusList(token.payload, s.issuer, uri)
	if err != nil {
		return nil, err
	}
	list.key = key
	return list, nil
}
