// Package failures counts what fails, and tells who has failed too often: an address
// at being authenticated, or an authenticated client, from an address, at keys. It
// decides when that is; what becomes of an attempt then is decided by who asks.
//
// # Why only failures count
//
// All users of a backend share its client and its address, so a limit on requests
// would let one of them shut out the others. Here whatever succeeds is neither counted
// nor refused. Keys cannot be guessed (190 bits); the limit keeps an attack from the
// log and from learning anything by the thousand.
//
// # Why a subject is back only when half of its limit is free
//
// A limit gives back one failure at a time. Somebody who goes on failing would be told
// and logged a refusal of the ordinary kind at each of them, and cross the limit again
// with the next. So a subject that has crossed it stays there until half of its burst
// is free, and under the longest attack the lines of the log stay few.
package failures

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/cambio-auth/cambio/verifier"
)

// Bounds of what is remembered.
const (
	maxSubjects = 1 << 15 // of each kind; the one that failed longest ago is forgotten
	maxAttempts = 1 << 16
	sameFor     = time.Minute
	lookEvery   = 10 * time.Second
)

// DefaultLimit is what a subject may fail.
var DefaultLimit = verifier.Rate{Limit: 60, Window: time.Minute, Burst: 60}

// Config makes a Limiter.
type Config struct {
	Limit verifier.Rate    // of each subject; zero: DefaultLimit
	Log   *slog.Logger     // required
	Now   func() time.Time // zero: time.Now
}

// Subject is who fails.
type Subject struct {
	Client string       // authenticated; empty: nobody is
	From   netip.Prefix // an IPv4 address, or a /64 of IPv6; zero: not known
}

// SubjectOf takes an address for the network that one host can have to itself.
func SubjectOf(client, address string) Subject {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return Subject{Client: client}
	}
	addr = addr.Unmap().WithZone("")
	from, _ := addr.Prefix(min(addr.BitLen(), 64)) // fails for lengths that addr does not have
	return Subject{client, from}
}

// Attempt is the digest of what was tried. It tells nothing of it but whether it is
// the same again.
type Attempt [sha256.Size]byte

// AttemptOf makes one of the parts of what was tried.
func AttemptOf(parts ...string) Attempt {
	var all []byte
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part))
		all = append(all, sum[:]...)
	}
	return sha256.Sum256(all)
}

// Limiter counts failures. It is safe for concurrent use.
type Limiter struct {
	limit verifier.Rate
	log   *slog.Logger
	now   func() time.Time

	mu        sync.Mutex
	strangers *simplelru.LRU[Subject, *failing] // apart, so that they displace no client
	clients   *simplelru.LRU[Subject, *failing]
	seen      *simplelru.LRU[Attempt, time.Time] // what was counted, by subject and attempt
	over      map[Subject]*failing               // those of them that are
}

// failing is what is known of a subject.
type failing struct {
	bucket  *rate.Limiter
	over    bool
	refused int64 // since it is
}

// New fails without a log, and with a limit that is none.
func New(cfg Config) (*Limiter, error) {
	if cfg.Log == nil {
		return nil, errors.New("failures: Config.Log is required")
	}
	l := &Limiter{
		limit: cmp.Or(cfg.Limit, DefaultLimit), log: cfg.Log, now: cfg.Now, over: map[Subject]*failing{},
	}
	if err := l.limit.Validate(); err != nil {
		return nil, err
	}
	if l.limit.Burst > math.MaxInt32 {
		l.limit.Burst = math.MaxInt32
	}
	if l.now == nil {
		l.now = time.Now
	}
	var errs [3]error
	l.strangers, errs[0] = simplelru.NewLRU(maxSubjects, l.back)
	l.clients, errs[1] = simplelru.NewLRU(maxSubjects, l.back)
	l.seen, errs[2] = simplelru.NewLRU[Attempt, time.Time](maxAttempts, nil)
	return l, errors.Join(errs[:]...)
}

// Failed counts a failure of s, unless it is the same as one of the last minute: there
// are clients that repeat whatever was refused. It returns zero, or how long s is over
// its limit; then nothing is counted.
func (l *Limiter) Failed(s Subject, what Attempt) (wait time.Duration) {
	return l.failed(s, what, func(f *failing, now time.Time) bool { return !f.over && f.bucket.AllowN(now, 1) })
}

// Guessed is Failed for what can be guessed, and is counted also when s is over its
// limit: attempts that were let in at a time cost as many as they were.
func (l *Limiter) Guessed(s Subject, what Attempt) (wait time.Duration) {
	return l.failed(s, what, func(f *failing, now time.Time) bool {
		within := !f.over && f.bucket.TokensAt(now) >= 1
		f.bucket.ReserveN(now, 1) // more than there is, if need be
		return within
	})
}

func (l *Limiter) failed(s Subject, what Attempt, take func(*failing, time.Time) bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	f := l.find(s, now)
	again := AttemptOf(s.Client, s.From.String(), string(what[:]))
	at, same := l.seen.Get(again)
	same = same && now.Sub(at) < sameFor
	switch {
	case same && !f.over:
		return 0
	case same:
	case take(f, now):
		l.seen.Add(again, now)
		return 0
	case !f.over:
		l.cross(s, f)
	}
	f.refused++
	return l.wait(f, now)
}

// Hold returns zero, or how long s is over its limit. That is a refusal then, of what
// is not even tried.
func (l *Limiter) Hold(s Subject) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, known := l.over[s]
	now := l.now()
	if !known || l.free(s, f, now) {
		return 0
	}
	f.refused++
	return l.wait(f, now)
}

// find returns what is known of s as of now. The caller holds mu.
func (l *Limiter) find(s Subject, now time.Time) *failing {
	all := l.clients
	if s.Client == "" {
		all = l.strangers
	}
	f, known := all.Get(s)
	if !known {
		f = &failing{bucket: rate.NewLimiter(l.perSecond(), int(l.limit.Burst))}
		all.Add(s, f)
	}
	l.free(s, f, now)
	return f
}

// cross takes s over its limit, and says so. The caller holds mu.
func (l *Limiter) cross(s Subject, f *failing) {
	f.over, l.over[s] = true, f
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "too many attempts failed", s.attrs(slog.String("limit", l.limit.String()))...)
}

// free takes s back if it has waited long enough, and reports whether it is within its
// limit. The caller holds mu.
func (l *Limiter) free(s Subject, f *failing, now time.Time) bool {
	if f.over && l.wait(f, now) == 0 {
		l.back(s, f)
	}
	return !f.over
}

// back takes s back, and says how much was refused. The caller holds mu.
func (l *Limiter) back(s Subject, f *failing) {
	if !f.over {
		return
	}
	delete(l.over, s)
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "attempts are told apart again", s.attrs(slog.Int64("refused", f.refused))...)
	f.over, f.refused = false, 0
}

// wait is how long it takes until half of the burst is free.
func (l *Limiter) wait(f *failing, now time.Time) time.Duration {
	missing := float64((l.limit.Burst+1)/2) - f.bucket.TokensAt(now)
	if missing < 1e-6 { // of what adds up to a whole one
		return 0
	}
	return time.Duration(missing/float64(l.perSecond())*float64(time.Second)) + 1
}

func (l *Limiter) perSecond() rate.Limit {
	return rate.Limit(float64(l.limit.Limit) / l.limit.Window.Seconds())
}

func (s Subject) attrs(more slog.Attr) []slog.Attr {
	from := s.From.String()
	if s.From.IsSingleIP() {
		from = s.From.Addr().String()
	}
	attrs := []slog.Attr{slog.String("from", from), more}
	if s.Client != "" {
		attrs = append(attrs, slog.String("client", s.Client))
	}
	return attrs
}

// Run says within ten seconds who is back, also of those who never come again, until
// ctx ends; then of all others what was refused until now.
func (l *Limiter) Run(ctx context.Context) {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			l.look(l.back)
			return
		case <-ticks.C:
			l.look(func(s Subject, f *failing) { l.free(s, f, l.now()) })
		}
	}
}

func (l *Limiter) look(each func(Subject, *failing)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, f := range l.over {
		each(s, f)
	}
}
