package sdk

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Pace of fetching, in real time: a clock set by hand must not stop it.
const (
	fetchTimeout = 3 * time.Second
	fetchPause   = time.Second // from the start of one fetch to that of the next
	maxWaiting   = 256         // callers waiting for a fetch

	// refreshRetry is the pause after a failed refresh while the old set is good.
	refreshRetry = 10 * time.Second

	// clockStep is how far the clock must have been set back to be noticed: longer
	// than any check takes, which reads it once, at the beginning.
	clockStep = time.Minute
)

var (
	errUnknownKey = refused("signed by an unknown key")
	errCrowded    = errors.New("too many callers wait for the key set")
	errNoOutcome  = errors.New("the fetch of the key set ended without an outcome")
)

// keySet holds the issuer's public keys. Known keys answer at once; a set that is
// due is refreshed behind their back. Whoever asks for an unknown key waits for
// the next fetch that starts after it asked: so a new key is accepted within
// about a second, and no number of forged kids causes more than one fetch a
// second.
type keySet struct {
	url      string
	http     *http.Client
	now      func() time.Time
	maxStale time.Duration

	keys  *lru.Cache[string, *publicKey] // by kid: exactly those of the last good set
	state atomic.Pointer[setState]       // nil: none yet

	file     *keyFile      // nil: none
	restore  sync.Once     // of what the file holds
	restored chan struct{} // closed after that; nil without a file

	waiting atomic.Int64
	mu      sync.Mutex // whoever changes keys and state holds it
	flight  *fetch     // the one under way or about to start
	another backOff    // from asking for another set than this one
	started time.Time  // when the last one started
}

// setState is what we know of the last good set. Times are by now.
type setState struct {
	etag      string
	digest    string        // base64url of the SHA-256 of its text
	life      time.Duration // how long it may be used without a refresh
	since     time.Time     // an earlier time means that the clock was set back
	refreshAt time.Time     // due for a refresh
	deadAt    time.Time     // too stale to be used
}

// due reports whether to ask the issuer again. When the clock was set back, the set
// may be older than it seems.
func (st *setState) due(now time.Time) bool {
	return !now.Before(st.refreshAt) || now.Before(st.since)
}

// unrefreshed is st after a refresh that failed, maybe because the ETag is what
// the issuer chokes on. No clock, however it is set, makes the set live longer.
func (st *setState) unrefreshed(now time.Time) *setState {
	later := *st
	later.etag = ""
	later.since, later.refreshAt = now.Add(-clockStep), now.Add(refreshRetry)
	if latest := now.Add(st.life); latest.Before(st.deadAt) {
		later.deadAt = latest
	}
	return &later
}

// fetch is one request for the key set, shared by all who wait for it.
type fetch struct {
	begun bool // guarded by mu
	done  chan struct{}
	err   error // readable after done
}

func newKeySet(config CheckerConfig) (*keySet, error) {
	keys, err := lru.New[string, *publicKey](maxKeys)
	if err != nil {
		return nil, err
	}
	s := &keySet{
		url:      config.JWKSURL,
		http:     noRedirects(config.HTTPClient),
		now:      config.Now,
		maxStale: config.MaxStale,
		keys:     keys,
	}
	if config.KeySetFile != "" {
		s.file = newKeyFile(config.KeySetFile, config.JWKSURL, config.OnKeySetFileError)
		s.restored = make(chan struct{})
	}
	return s, nil
}

// alive reports whether there is a set that is not too stale.
func (s *keySet) alive(now time.Time) bool {
	st := s.state.Load()
	return st != nil && now.Before(st.deadAt)
}

// keepFresh has the set refreshed in the background once it is due. Only what was
// good in the end calls it: no garbage reaches the network.
func (s *keySet) keepFresh(now time.Time) {
	if !s.state.Load().due(now) || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.state.Load().due(now) {
		s.takeOff()
	}
}

// holds reports whether a token that key verified is still to be believed.
func (s *keySet) holds(key *publicKey, now time.Time) bool {
	return !key.withdrawn.Load() && s.alive(now)
}

// known returns the key named kid if it is here to be used, nil if not.
func (s *keySet) known(kid string) *publicKey {
	if !s.alive(s.now()) {
		return nil
	}
	key, _ := s.keys.Get(kid)
	return key
}

// agree has the set fetched anew if the issuer has another by now, as a status list
// says: a key that it no longer publishes must not live here until the set is
// due. Where what comes is not that set either, from a cache on the way, it is asked
// for ever less often.
func (s *keySet) agree(digest string) {
	st := s.state.Load()
	if digest == "" || st == nil || st.digest == digest {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); !s.another.lasts(now) {
		s.another = s.another.next(now)
		s.takeOff()
	}
}

// find returns the key named kid. It fails with errUnknownKey, or with
// ErrUnavailable if the set could not be had.
func (s *keySet) find(ctx context.Context, kid string) (*publicKey, error) {
	if key := s.known(kid); key != nil {
		return key, nil
	}
	for {
		late, err := s.wait(ctx, func() bool { return s.known(kid) != nil })
		if err != nil {
			return nil, err
		}
		if key, ok := s.keys.Get(kid); ok {
			return key, nil
		}
		if !late {
			return nil, errUnknownKey
		}
	}
}

// ready returns nil once there is a set that can be used.
func (s *keySet) ready(ctx context.Context) error {
	if now := s.now(); s.alive(now) {
		s.keepFresh(now)
		return nil
	}
	_, err := s.wait(ctx, func() bool { return s.alive(s.now()) })
	return err
}

// wait waits for the fetch under way, or for the next, and says whether the caller
// came late: after the request went out, whose answer may be older than its
// question. The file may bring enough before that, or in spite of a failure.
// Giving up does not stop the fetch: others may wait for it.
func (s *keySet) wait(ctx context.Context, enough func() bool) (late bool, err error) {
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > maxWaiting {
		return false, &UnavailableError{cause: errCrowded, RetryAfter: fetchPause}
	}
	s.mu.Lock()
	if enough() { // a fetch has ended since the caller looked
		s.mu.Unlock()
		return false, nil
	}
	f := s.takeOff()
	late = f.begun
	s.mu.Unlock()
	for restored := s.restored; ; restored = nil {
		select {
		case <-restored:
			if enough() {
				return late, nil
			}
		case <-f.done:
			if f.err != nil && !enough() {
				return late, &UnavailableError{cause: f.err, RetryAfter: fetchPause}
			}
			return late, nil
		case <-ctx.Done():
			return late, unavailable(ctx.Err())
		}
	}
}

// takeOff returns the fetch under way, or starts one as soon as the pace allows;
// the first time, with the file for a competitor. The caller holds mu.
func (s *keySet) takeOff() *fetch {
	if s.flight != nil {
		return s.flight
	}
	if s.file != nil {
		s.restore.Do(func() { go s.readFile() })
	}
	f := &fetch{done: make(chan struct{})}
	s.flight = f
	pause := time.Duration(0)
	if !s.started.IsZero() {
		pause = fetchPause - time.Since(s.started)
	}
	go s.fly(f, pause)
	return f
}

// fly has a context of its own, so that no caller's impatience ends it, and ends
// within fetchPause + fetchTimeout. It lands even if the goroutine is ended.
func (s *keySet) fly(f *fetch, pause time.Duration) {
	f.err = errNoOutcome
	defer func() {
		s.mu.Lock()
		s.flight = nil
		s.mu.Unlock()
		close(f.done)
	}()
	if pause > 0 {
		time.Sleep(pause)
	}
	s.mu.Lock()
	f.begun, s.started = true, time.Now()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	f.err = s.refresh(ctx)
	if f.err != nil && s.restored != nil && s.state.Load() == nil {
		select { // the file may still save us, if it is only slow
		case <-s.restored:
		case <-ctx.Done():
		}
	}
}

// refresh replaces the set by what the issuer publishes now, or keeps the old one
// and says why. Only one runs at a time.
func (s *keySet) refresh(ctx context.Context) error {
	etag, digest := "", ""
	if st := s.state.Load(); st != nil {
		etag, digest = st.etag, st.digest
	}
	got, err := fetchKeySet(ctx, s.http, s.url, etag)
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if st := s.state.Load(); st != nil {
			s.state.Store(st.unrefreshed(now))
		}
		return err
	}
	if got.keys != nil {
		s.replace(got.keys)
		digest = digestOfSet(got.body)
	}
	s.state.Store(s.stateAt(now, got.maxAge, got.etag, digest))
	if s.file != nil {
		s.file.save(storedSet{got.body, now, got.maxAge})
	}
	return nil
}

// readFile takes over what the file holds, unless the issuer was faster.
func (s *keySet) readFile() {
	set, keys, err := s.file.load(s.now, s.maxStale)
	if err == nil {
		s.mu.Lock()
		if s.state.Load() == nil {
			s.replace(keys)
			s.state.Store(s.stateAt(set.fetched, set.maxAge, "", digestOfSet(set.body)))
		}
		s.mu.Unlock()
	}
	close(s.restored)
	if !errors.Is(err, fs.ErrNotExist) {
		s.file.complain("reading", err)
	}
}

// digestOfSet names a set as status lists do.
func digestOfSet(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s *keySet) stateAt(fetched time.Time, maxAge time.Duration, etag, digest string) *setState {
	life := maxAge + s.maxStale
	return &setState{
		etag:      etag,
		digest:    digest,
		life:      life,
		since:     fetched.Add(-clockStep),
		refreshAt: fetched.Add(maxAge * 4 / 5),
		deadAt:    fetched.Add(life),
	}
}

// replace keeps the identity of a key that is still published, so that what was
// verified with it stays remembered.
func (s *keySet) replace(keys map[string]*publicKey) {
	for _, kid := range s.keys.Keys() {
		old, ok := s.keys.Peek(kid)
		if !ok {
			continue
		}
		if key := keys[kid]; key != nil && key.equal(old) {
			delete(keys, kid)
			continue
		}
		s.keys.Remove(kid)
		old.withdrawn.Store(true)
	}
	for kid, key := range keys {
		s.keys.Add(kid, key)
	}
}
