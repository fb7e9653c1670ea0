package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/wire"
)

// Bounds of a client assertion.
const (
	maxAssertion = 4 << 10 // bytes
	maxAssertID  = 256     // bytes of its jti
	maxAhead     = 5 * time.Minute
	maxSkew      = 30 * time.Second // that the clock of a client may be ahead of ours
)

// assertion is a JWT that a client has signed to say who it is (RFC 7523 §3), read but
// not yet believed.
type assertion struct {
	client.Signed
	clientID string // its iss and its sub
	id       string // its jti
	expires  int64  // seconds since 1970
}

// badAssertion leaves a client unauthenticated. What is a constant: nothing that was
// sent gets into our log.
func badAssertion(what string) error {
	return fmt.Errorf("%w: client_assertion: %s", exchange.ErrClient, what)
}

// readAssertion reads an assertion for one of audiences, as of now. Its one spelling
// is the compact form with strict base64url and no member twice; all that does not
// depend on who signed it is judged here, so that it costs no look-up.
func readAssertion(text string, audiences []string, now time.Time) (assertion, error) {
	if len(text) > maxAssertion {
		return assertion{}, badAssertion("it is too long")
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 || strings.ContainsAny(text, "\r\n") { // which the decoder would skip
		return assertion{}, badAssertion("it is no compact JWS")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil || len(decoded[i]) == 0 {
			return assertion{}, badAssertion("it is no compact JWS")
		}
	}
	a := assertion{Signed: client.Signed{Message: []byte(parts[0] + "." + parts[1]), Signature: decoded[2]}}
	if err := a.header(decoded[0]); err != nil {
		return assertion{}, err
	}
	return a, a.claims(decoded[1], audiences, now)
}

// header takes alg, kid and typ, and nothing else: that one rule ends crit, b64, zip,
// cty, jwk, jku, x5u and x5c (RFC 8725 §3.10). A typ must be that of an assertion or
// of any JWT, so that no token of another kind passes for one (§3.11).
func (a *assertion) header(doc []byte) error {
	m, err := parseMembers(doc)
	if err != nil {
		return badAssertion("its header is no JSON object")
	}
	alg, kid := given[string](m, "alg"), given[string](m, "kid")
	typ := strings.TrimPrefix(strings.ToLower(zero(given[string](m, "typ"))), "application/")
	if m.wrong(nil) != nil {
		return badAssertion("its header is not alg, kid and typ alone")
	}
	if typ != "" && typ != "jwt" && typ != wire.TypClientAssertion {
		return badAssertion("its typ is another's")
	}
	a.Algorithm, a.KID = zero(alg), zero(kid)
	if a.Algorithm == "Ed25519" { // its other name (RFC 9864)
		a.Algorithm = client.EdDSA
	}
	switch {
	case !slices.Contains(client.Algorithms(), a.Algorithm):
		return badAssertion("its alg is not accepted")
	case kid != nil && a.KID == "", len(a.KID) > client.MaxKID:
		return badAssertion("its kid is empty or too long")
	}
	return nil
}

// claims are iss, sub, aud, exp and jti, which must be there, and nbf and iat, which
// may (RFC 7523 §3). Others mean nothing.
func (a *assertion) claims(doc []byte, audiences []string, now time.Time) error {
	m, err := parseMembers(doc)
	if err != nil {
		return badAssertion("its payload is no JSON object")
	}
	iss, sub, jti := given[string](m, "iss"), given[string](m, "sub"), given[string](m, "jti")
	exp, nbf, iat := given[int64](m, "exp"), given[int64](m, "nbf"), given[int64](m, "iat")
	a.clientID, a.id, a.expires = zero(sub), zero(jti), zero(exp)
	latest := now.Add(maxSkew).Unix()
	switch {
	case len(m.faults) > 0:
		return badAssertion("a claim is of another type")
	case a.clientID == "" || zero(iss) != a.clientID:
		return badAssertion("its iss and sub are not one client")
	case !aimedAt(m.left["aud"], audiences):
		return badAssertion("its aud is not ours alone")
	case a.id == "" || len(a.id) > maxAssertID:
		return badAssertion("its jti is missing or too long")
	case exp == nil || *exp <= now.Unix():
		return badAssertion("it has expired, or has no exp")
	case *exp > now.Add(maxAhead+maxSkew).Unix():
		return badAssertion("its exp is too far ahead")
	case zero(nbf) > latest, zero(iat) > latest:
		return badAssertion("it is of the future")
	case iat != nil && *exp-max(*iat, 0) > int64((maxAhead+maxSkew)/time.Second):
		return badAssertion("it lives too long")
	}
	return nil
}

// aimedAt reports whether aud is one of audiences: alone, or as the only one of a list
// (draft-ietf-oauth-rfc7523bis §4). An assertion for others beside us could be sent to
// us by any of them.
func aimedAt(aud json.RawMessage, audiences []string) bool {
	var list []string
	if json.Unmarshal(aud, &list) != nil {
		list = make([]string, 1)
		if json.Unmarshal(aud, &list[0]) != nil {
			return false
		}
	}
	return len(list) == 1 && slices.Contains(audiences, list[0])
}
