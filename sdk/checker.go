package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

// CheckerConfig says whose tokens are accepted, and for whom.
type CheckerConfig struct {
	Issuer   string // required: the expected iss, byte for byte; https, or http on loopback
	Audience string // required: this backend, expected in aud

	JWKSURL    string        // where the issuer's keys are; zero: Issuer + "/.well-known/jwks.json"
	Algorithms []Algorithm   // those accepted; zero: EdDSA, ES256, RS256
	Leeway     time.Duration // clock skew forgiven, at most 5 min; zero: 30 s; negative: none

	// MaxStale is how long keys are used past their max-age while the issuer
	// cannot be reached, at most 24 h. Then nothing is accepted. Zero: 1 h;
	// negative: not at all.
	MaxStale time.Duration

	// KeySetFile is where a copy of the keys is kept on disk, so that tokens can be
	// checked after a restart although the issuer cannot be reached: for as long as
	// without the restart. Processes may share it, issuers may not. It is written
	// with mode 0600, and not believed if others than we and root may write it. Zero:
	// none.
	KeySetFile        string
	OnKeySetFileError func(error) // told why the file is not read or written, which fails no check; zero: nobody is

	// StatusListURL is where the issuer's status lists are, which tokens name by the
	// issuer's own address: what is at Issuer + "/statuslists/1" for them is fetched
	// from StatusListURL + "/1". For a backend that reaches the issuer by another
	// address, like JWKSURL. Zero: where tokens say.
	StatusListURL string

	// MaxStatusAge is how old a status list may be that is relied on, at most 24 h,
	// while a newer one cannot be had. Zero: as old as its ttl, some seconds.
	MaxStatusAge time.Duration

	// StatusFailOpen accepts a token whose status cannot be had, unless the last
	// list that was had revokes it. Zero: such a token is not accepted.
	StatusFailOpen bool

	// Metadata is what this backend publishes of itself (RFC 9728); its challenges
	// say where. The Audience must be its URL then. Zero: nothing.
	Metadata *ResourceMetadata

	SeenCache  int              // tokens remembered as verified, about 1 KB each; zero: 8192
	AllowHTTP  bool             // permits plain http beyond loopback addresses; zero: refused
	HTTPClient *http.Client     // fetches the keys; never follows redirects; zero: http.DefaultTransport
	Now        func() time.Time // the clock; zero: time.Now
}

func (c CheckerConfig) withDefaults() CheckerConfig {
	if c.JWKSURL == "" {
		c.JWKSURL = strings.TrimSuffix(c.Issuer, "/") + wire.PathJWKS
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = []Algorithm{EdDSA, ES256, RS256}
	}
	c.Algorithms = slices.Clone(c.Algorithms)
	c.Leeway = max(0, cmp.Or(c.Leeway, 30*time.Second))
	c.MaxStale = max(0, cmp.Or(c.MaxStale, time.Hour))
	c.SeenCache = cmp.Or(c.SeenCache, 8192)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c CheckerConfig) validate() error {
	errs := []error{checkURL("Issuer", c.Issuer, c.AllowHTTP)}
	if c.Issuer != "" {
		errs = append(errs, checkURL("JWKSURL", c.JWKSURL, c.AllowHTTP))
	}
	if c.StatusListURL != "" {
		errs = append(errs, checkURL("StatusListURL", c.StatusListURL, c.AllowHTTP))
	}
	if c.Audience == "" {
		errs = append(errs, errors.New("Audience is required"))
	}
	for _, alg := range c.Algorithms {
		if alg != EdDSA && alg != ES256 && alg != RS256 {
			errs = append(errs, fmt.Errorf("algorithm %q is not one of EdDSA, ES256, RS256", alg))
		}
	}
	if c.Leeway > 5*time.Minute {
		errs = append(errs, errors.New("the Leeway is over 5 minutes"))
	}
	if c.MaxStale > 24*time.Hour {
		errs = append(errs, errors.New("MaxStale is over 24 hours"))
	}
	if c.MaxStatusAge < 0 || c.MaxStatusAge > 24*time.Hour {
		errs = append(errs, errors.New("MaxStatusAge is negative or over 24 hours"))
	}
	if c.SeenCache < 0 {
		errs = append(errs, errors.New("SeenCache is negative"))
	}
	return errors.Join(errs...)
}

// Checker checks tokens of one issuer for one audience. Make one and share it:
// it is safe for concurrent use, and what it has learned lives in it.
type Checker struct {
	issuer     string
	audience   string
	algorithms []Algorithm
	leeway     time.Duration
	now        func() time.Time
	keys       *keySet
	statuses   *statuses
	seen       *seen
	metadata   *metadata // nil: none is published
}

// NewChecker returns at once: keys are fetched when the first token needs them.
// It fails with all that is wrong with config.
func NewChecker(config CheckerConfig) (*Checker, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("sdk: %w", err)
	}
	metadata, err := newMetadata(config)
	if err != nil {
		return nil, fmt.Errorf("sdk: %w", err)
	}
	remembered, err := newSeen(config.SeenCache)
	if err != nil {
		return nil, err
	}
	keys, err := newKeySet(config)
	if err != nil {
		return nil, err
	}
	statuses, err := newStatuses(config, keys)
	if err != nil {
		return nil, err
	}
	return &Checker{
		issuer:     config.Issuer,
		audience:   config.Audience,
		algorithms: config.Algorithms,
		leeway:     config.Leeway,
		now:        config.Now,
		keys:       keys,
		statuses:   statuses,
		seen:       remembered,
		metadata:   metadata,
	}, nil
}

// Ready returns nil once the issuer's keys are there, fetching them if need be:
// for a readiness probe. Otherwise its error wraps ErrUnavailable.
func (c *Checker) Ready(ctx context.Context) error { return c.keys.ready(ctx) }

// Check returns what raw says if it is an access token of our issuer (RFC 9068
// §4), in force, for our audience. Its error wraps ErrRefused if it is not, and
// ErrUnavailable if the issuer's keys could not be had. A token that cannot be
// ours never causes a fetch.
func (c *Checker) Check(ctx context.Context, raw string) (*Token, error) {
	v, err := c.check(ctx, raw)
	if err != nil {
		return nil, err
	}
	return v.token(), nil
}

func (c *Checker) check(ctx context.Context, raw string) (*verified, error) {
	v, now, err := c.known(ctx, raw)
	if err != nil {
		return nil, err
	}
	return v, c.statuses.check(ctx, v, now)
}

// known returns what raw says, whatever its status: from memory, or verified now.
func (c *Checker) known(ctx context.Context, raw string) (*verified, time.Time, error) {
	now := c.now()
	if _, _, err := accessToken.cut(raw); err != nil {
		return nil, now, err
	}
	id := digestOf(raw)
	if v, ok := c.seen.get(id); ok {
		err := v.inTime(now, c.leeway)
		if err == nil && c.keys.holds(v.key, now) {
			c.keys.keepFresh(now)
			return v, now, nil
		}
		if c.seen.remove(id); err != nil {
			return nil, now, err
		}
	}
	v, err := c.verify(ctx, raw, now)
	if err != nil {
		return nil, now, err
	}
	c.seen.add(id, v)
	c.keys.keepFresh(now)
	return v, now, nil
}

// verify does what needs no key first, so that only a token that would be good
// can make us look for one.
func (c *Checker) verify(ctx context.Context, raw string, now time.Time) (*verified, error) {
	token, err := accessToken.split(raw)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(c.algorithms, token.header.alg) {
		return nil, errAlg
	}
	said, err := c.claims(token.payload, now)
	if err != nil {
		return nil, err
	}
	key, err := c.keys.find(ctx, token.header.kid)
	if err != nil {
		return nil, err
	}
	if err := key.signed(token); err != nil {
		return nil, err
	}
	return newVerified(said, key, c.statuses.source(said.statusURI)), nil
}

func (c *Checker) claims(payload string, now time.Time) (claims, error) {
	said, forUs, err := readClaims(payload, c.audience)
	switch {
	case err != nil:
		return claims{}, err
	case said.issuer != c.issuer:
		return claims{}, errIssuer
	case !forUs:
		return claims{}, errAudience
	case c.statuses.foreign(said.statusURI):
		return claims{}, errForeignList
	}
	said.audience = c.audience
	return said, said.inTime(now, c.leeway)
}
