package sdk

import (
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
	jsonReader
	claims
	hasAudience, hasExpiry bool
	forUs                  bool // the audience is among those named
}

// readClaims reads a payload, and reports whether audience is among those that it
// names.
func readClaims(payload, audience string) (said claims, forUs bool, err error) {
	var c claimsReader
	c.read(payload)
	c.issuedAt = -1
	for c.open('{'); c.more('}'); {
		c.member(c.name(), audience)
	}
	if c.end() != nil || !c.complete() {
		return claims{}, false, errClaims
	}
	return c.claims, c.forUs, nil
}

func (c *claimsReader) member(name, audience string) {
	switch name {
	case "iss":
		c.issuer = c.text()
	case "sub":
		c.subject = c.text()
	case "aud":
		c.hasAudience, c.forUs = true, c.oneOf(audience)
	case "client_id":
		c.clientID = c.text()
	case "jti":
		c.id = c.text()
	case "scope":
		c.scope = c.text()
	case "key_id":
		c.keyID = c.text()
	case "keyspace":
		c.keyspace = c.text()
	case "iat":
		c.issuedAt = c.integer()
	case "exp":
		c.hasExpiry = true
		c.expiresAt = c.integer()
	case "nbf":
		c.notBefore = c.integer()
	case "permissions":
		c.permissions = c.permissionMap()
	case "metadata":
		c.metadata = c.value()
	case "status":
		c.readStatus()
	default:
		if resembles(name) {
			c.fail()
		}
		c.skip()
	}
}

// readStatus takes a status list entry (Token Status List §6.1). A status kept in
// some other way is one that we cannot check.
func (c *claimsReader) readStatus() {
	c.statusIndex = -1
	for c.open('{'); c.more('}'); {
		if c.name() != "status_list" {
			c.skip()
			continue
		}
		for c.open('{'); c.more('}'); {
			switch c.name() {
			case "idx":
				c.statusIndex = c.integer()
			case "uri":
				c.statusURI = c.text()
			default:
				c.skip()
			}
		}
	}
	if c.statusIndex < 0 || c.statusURI == "" {
		c.fail()
	}
}

// resembles reports whether name is one of ours but for its case. Letters that
// fold to ASCII without being ASCII take 2 or 3 bytes.
func resembles(name string) bool {
	for _, known := range claimNames {
		if len(name) < len(known) || name[0] < 0x80 && name[0]|' ' != known[0] {
			continue
		}
		if name != known && strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// oneOf reads a text or an array of them, and reports whether wanted is there.
func (c *claimsReader) oneOf(wanted string) (found bool) {
	if c.next() != '[' {
		return c.text() == wanted
	}
	for c.open('['); c.more(']'); {
		found = c.text() == wanted || found
	}
	return found
}

func (c *claimsReader) permissionMap() map[string][]string {
	held, actions := map[string][]string{}, make([]string, 0, 8)
	for c.open('{'); c.more('}'); {
		resource, first := c.name(), len(actions)
		for c.open('['); c.more(']'); {
			actions = append(actions, c.text())
		}
		held[resource] = actions[first:len(actions):len(actions)]
	}
	return held
}

// complete reports whether every claim that we rely on was there (RFC 9068
// §2.2). A token without permissions is complete, and allows nothing.
func (c *claimsReader) complete() bool {
	return c.subject != "" && c.clientID != "" && c.id != "" && c.hasAudience && c.hasExpiry && c.issuedAt >= 0
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
