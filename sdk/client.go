package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/internal/wire"
)

// maxKey is the longest API key there is, in bytes.
const maxKey = 512

// ClientConfig says who we are to the issuer, and which keys we ask about.
type ClientConfig struct {
	Issuer   string // required: the expected iss; https, or http on loopback
	ClientID string // required: this program, as the issuer knows it
	Audience string // required: this backend

	// One of these is required.
	ClientSecret Secret
	ClientKey    ClientKey // signs an assertion for each exchange; no call can be Online
	MutualTLS    bool      // HTTPClient presents our certificate

	Keyspace string // where keys must belong if a request does not say; zero: to any we may use

	TokenURL  string // the token endpoint; zero: Issuer + "/oauth2/token"
	VerifyURL string // who asks to be Online is sent there; zero: Issuer + "/v1/keys/verify"

	GrantCache   int // keys whose token is kept, about 1 KB each; zero: 8192
	RefusalCache int // keys remembered for a while as refused, and as many as charged in vain; zero: 4096

	AllowHTTP  bool             // permits plain http beyond loopback addresses; zero: refused
	HTTPClient *http.Client     // never follows redirects; zero: http.DefaultTransport
	Now        func() time.Time // the clock; zero: time.Now

	// Checker says how tokens are checked. Its Issuer, Audience, AllowHTTP,
	// HTTPClient and Now are those above, whatever it says.
	Checker CheckerConfig
}

func (c ClientConfig) withDefaults() ClientConfig {
	if c.TokenURL == "" {
		c.TokenURL = strings.TrimSuffix(c.Issuer, "/") + wire.PathToken
	}
	if c.VerifyURL == "" {
		c.VerifyURL = strings.TrimSuffix(c.Issuer, "/") + wire.PathVerify
	}
	c.GrantCache = cmp.Or(c.GrantCache, 8192)
	c.RefusalCache = cmp.Or(c.RefusalCache, 4096)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Checker.Issuer, c.Checker.Audience = c.Issuer, c.Audience
	c.Checker.AllowHTTP, c.Checker.HTTPClient, c.Checker.Now = c.AllowHTTP, c.HTTPClient, c.Now
	return c
}

func (c ClientConfig) validate() error {
	var errs []error
	if c.ClientID == "" {
		errs = append(errs, errors.New("ClientID is required"))
	}
	ways := 0
	for _, given := range []bool{c.ClientSecret.reveal() != "", c.ClientKey.v != nil, c.MutualTLS} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		errs = append(errs, errors.New("one of ClientSecret, ClientKey and MutualTLS is required"))
	}
	if c.MutualTLS && c.HTTPClient == nil {
		errs = append(errs, errors.New("HTTPClient is required with MutualTLS"))
	}
	if c.Issuer != "" {
		errs = append(errs, checkURL("TokenURL", c.TokenURL, c.AllowHTTP), checkURL("VerifyURL", c.VerifyURL, c.AllowHTTP))
	}
	if c.GrantCache < 0 || c.RefusalCache < 0 {
		errs = append(errs, errors.New("a cache size is negative"))
	}
	return errors.Join(errs...)
}

// Client verifies API keys: the first time by an exchange, then locally for as
// long as the token lasts. It takes tokens too. Make one and share it: it is safe
// for concurrent use, and what it has learned lives in it.
type Client struct {
	checker  *Checker
	keyspace string
	now      func() time.Time
	grants   *grants
}

// NewClient returns at once and contacts nobody. It fails with all that is wrong
// with config.
func NewClient(config ClientConfig) (*Client, error) {
	config = config.withDefaults()
	checker, err := NewChecker(config.Checker)
	if err := errors.Join(err, config.validate()); err != nil {
		return nil, fmt.Errorf("sdk: %w", err)
	}
	who, err := newIdentity(config)
	if err != nil {
		return nil, fmt.Errorf("sdk: %w", err)
	}
	kept, err := lru.New[subject, *grant](config.GrantCache)
	if err != nil {
		return nil, err
	}
	refusals, err := lru.New[subject, refusal](config.RefusalCache)
	if err != nil {
		return nil, err
	}
	inVain, err := lru.New[subject, refusal](config.RefusalCache)
	if err != nil {
		return nil, err
	}
	return &Client{
		checker:  checker,
		keyspace: config.Keyspace,
		now:      config.Now,
		grants: &grants{
			checker: checker,
			exchanger: &exchanger{
				url:       config.TokenURL,
				verifyURL: config.VerifyURL,
				issuer:    config.Issuer,
				identity:  who,
				audience:  config.Audience,
				http:      noRedirects(config.HTTPClient),
				now:       config.Now,
			},
			now: config.Now, kept: kept, refusals: refusals, inVain: inVain,
			flights: map[subject][]*exchange{},
		},
	}, nil
}

var (
	errNotAKey = refused("not an API key")
	errIsToken = refused("a token where an API key belongs")
	errOnline  = errors.New("sdk: a call to be Online needs a ClientSecret or MutualTLS: no standard sends an assertion there")
)

// VerifyAPIKey tells whether a key is good, from the token that it was exchanged
// for, and checks the permissions asked against that token. It exchanges the key
// if no such token is kept, or the one kept will not do for req. A kept token is
// renewed behind the caller's back if its key is used in the last quarter of its
// life. Until it ends, an issuer that does not exchange is not felt. If the token
// has a status, that must be had and good, as ClientConfig.Checker says; where it
// was called back, the key is exchanged anew.
//
// An exchange that brings a token is one charge of the key's budget, and one whose
// answer is lost may be; nothing else is, and a call makes one at most.
// Permissions are looked at afterwards: a call that lacks some may have been
// charged, and what the key was given since is seen by the next exchange.
//
// A call that asks to be Online has the issuer decide about it alone, permissions
// included, and leaves no token behind: see VerifyRequest.
//
// Its error wraps
//
//   - ErrRefused, if the key is not good here: as a *ForbiddenError if it lacks
//     permissions or may not be used for our audience, as a *LimitedError if
//     its budget is used up for now;
//   - ErrUnavailable, if the issuer could not tell, or refuses us as its client.
//
// What no answer can be right for, such as a resource asked for without actions, a
// negative MaxAge or an IdempotencyKey that stands for another request, is a
// mistake of the caller, and an error that wraps neither.
//
// No call reaches the issuer with what cannot be a key, within the time that the
// issuer asked us to wait or that follows a charge in vain, or while 256 calls are
// under way; nor does an exchange, while the issuer's public keys cannot be had. A
// plain refusal is remembered for 5 seconds, and answers a call unless that is
// Online, or older than MaxAge.
//
// A caller who gives up early leaves a charge behind whose outcome it does not
// learn. It ends within 5 seconds, and a token that it brings is kept.
func (c *Client) VerifyAPIKey(ctx context.Context, req VerifyRequest) (*Token, error) {
	if err := req.validate(); err != nil {
		return nil, fmt.Errorf("sdk: %w", err)
	}
	if req.Online && c.grants.exchanger.assertions != nil {
		return nil, errOnline
	}
	v, err := c.verify(ctx, req)
	if err != nil {
		return nil, err
	}
	if !permission.Covers(v.permissions, req.Permissions) {
		return nil, &ForbiddenError{Needed: missing(v.permissions, req.Permissions)}
	}
	return v.token(), nil
}

// Check takes whatever a caller presented: a token goes to the Checker and never
// to the issuer, anything else is an API key, and verified as by VerifyAPIKey.
func (c *Client) Check(ctx context.Context, raw string) (*Token, error) {
	if looksLikeToken(raw) {
		return c.checker.Check(ctx, raw)
	}
	return c.VerifyAPIKey(ctx, VerifyRequest{Key: raw})
}

// Ready is Checker.Ready: nil once the issuer's keys are there.
func (c *Client) Ready(ctx context.Context) error { return c.checker.Ready(ctx) }

func (c *Client) verify(ctx context.Context, req VerifyRequest) (*verified, error) {
	if looksLikeToken(req.Key) {
		return nil, errIsToken
	}
	if !couldBeKey(req.Key) {
		return nil, errNotAKey
	}
	s := subject{digest: digestOf(req.Key), keyspace: cmp.Or(req.Keyspace, c.keyspace), online: req.Online}
	if req.Online {
		return c.grants.landed(ctx, s, req.Key, wanted{call: newOnlineCall(req)})
	}
	return c.grants.get(ctx, s, req.Key, req.MaxAge)
}

// looksLikeToken recognises the compact form of any JOSE object, JWS or JWE, by
// its header: base64url of a JSON object. No key of ours has a dot; an imported
// one may have two.
func looksLikeToken(s string) bool {
	header, _, _ := strings.Cut(s, ".")
	return strings.Count(s, ".") >= 2 && beginsObject(header)
}

// beginsObject reports whether what s encodes in base64url begins like a JSON
// object, white space aside. How s goes on does not matter, nor any padding.
func beginsObject(s string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	bits, n := 0, 0 // n bits that are not part of a byte yet
	for i := range len(s) {
		six := strings.IndexByte(alphabet, s[i])
		if six < 0 {
			return false
		}
		bits, n = bits<<6|six, n+6
		if n < 8 {
			continue
		}
		n -= 8
		first := bits >> n
		bits &= 1<<n - 1
		if first != ' ' && first != '\t' && first != '\r' && first != '\n' {
			return first == '{'
		}
	}
	return false
}

// couldBeKey refuses what no key looks like, imported ones included.
func couldBeKey(s string) bool {
	if s == "" || len(s) > maxKey {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
