package sdk

import (
	"slices"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
)

var (
	errClaims   = refused("claims malformed or incomplete")
	errIssuer   = refused("not our issuer")
	errAudience = refused("not for this audience")
	errExpired  = refused("expired")
	errFuture   = refused("not valid yet")
	errLifetime = refused("lives longer than tokens are issued for")
)

// claimNames are those we give a meaning. A name that differs from one only in
// case is refused, so that no reader of the same token can disagree with us.
var claimNames = []string{
	"iss", "sub", "aud", "client_id", "iat", "exp", "nbf", "jti", "scope",
	"permissions", "key_id", "keyspace", "status", "metadata",
}

// claimsReader collects what a payload says before anything is judged.
type claimsReader struct {
	*jsonReader
	claims
	audiences []string
	seen      []string
}

// readClaims reads a payload. The audience is left for the caller to choose
// from all that the token names.
func readClaims(payload []byte) (claims, []string, error) {
	var c claimsReader
	err := readJSON(payload, func(r *jsonReader) error {
		c.jsonReader = r
		return r.object(c.member)
	})
	if err != nil || !c.complete() {
		return claims{}, nil, errClaims
	}
	return c.claims, c.audiences, nil
}

func (c *claimsReader) member(name string) (err error) {
	switch name {
	case "iss":
		c.issuer, err = c.text()
	case "sub":
		c.subject, err = c.text()
	case "aud":
		c.audiences, err = c.oneOrMore()
	case "client_id":
		c.clientID, err = c.text()
	case "jti":
		c.id, err = c.text()
	case "scope":
		c.scope, err = c.text()
	case "key_id":
		c.keyID, err = c.text()
	case "keyspace":
		c.keyspace, err = c.text()
	case "iat":
		c.issuedAt, err = c.integer()
	case "exp":
		c.expiresAt, err = c.integer()
	case "nbf":
		c.notBefore, err = c.integer()
	case "permissions":
		c.permissions, err = c.permissionMap()
	case "metadata":
		c.metadata, err = c.value()
		c.metadata = slices.Clone(c.metadata)
	default:
		return c.other(name)
	}
	c.seen = append(c.seen, name)
	return err
}

func (c *claimsReader) other(name string) error {
	for _, known := range claimNames {
		if name != known && strings.EqualFold(name, known) {
			return errJSON
		}
	}
	return c.skip()
}

func (c *claimsReader) oneOrMore() ([]string, error) {
	if c.next() == '[' {
		return c.texts()
	}
	one, err := c.text()
	return []string{one}, err
}

func (c *claimsReader) texts() (all []string, err error) {
	all = []string{}
	return all, c.array(func() error {
		one, err := c.text()
		all = append(all, one)
		return err
	})
}

func (c *claimsReader) permissionMap() (map[string][]string, error) {
	held := map[string][]string{}
	return held, c.object(func(resource string) (err error) {
		held[resource], err = c.texts()
		return err
	})
}

// complete reports whether every claim that we rely on was there (RFC 9068
// §2.2). A token without permissions is complete, and allows nothing.
func (c *claimsReader) complete() bool {
	for _, required := range []string{"iss", "sub", "aud", "client_id", "iat", "exp", "jti"} {
		if !slices.Contains(c.seen, required) {
			return false
		}
	}
	return c.subject != "" && c.clientID != "" && c.id != "" && c.issuedAt >= 0
}

// inTime judges exp, nbf and iat. The bounds on exp come first, so that no
// sum below can overflow.
func (c *claims) inTime(now time.Time, leeway time.Duration) error {
	latest := now.Add(leeway).Unix()
	longest := int64((wire.MaxTokenLifetime + leeway) / time.Second)
	switch {
	case c.expiresAt > now.Unix()+longest:
		return errLifetime
	case !now.Before(time.Unix(c.expiresAt, 0).Add(leeway)):
		return errExpired
	case c.issuedAt > latest, c.notBefore > latest:
		return errFuture
	case c.expiresAt <= c.issuedAt, c.expiresAt-c.issuedAt > longest:
		return errLifetime
	}
	return nil
}
