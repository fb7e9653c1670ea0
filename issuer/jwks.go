package issuer

import (
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// JWKSMaxAge is how long a checker may keep the key set without asking again.
const JWKSMaxAge = 5 * time.Minute

// JWKS is the published key set (RFC 7517 §5), encoded once.
type JWKS struct {
	Body []byte // JSON
	ETag string // strong (RFC 9110 §8.8.3), quotes included
}

// digest names the set in status lists, so that whoever reads one knows that the set
// has changed.
func (s JWKS) digest() string { return strings.Trim(s.ETag, `"`) }

// newJWKS encodes the public halves only, each with kid, alg and use.
func newJWKS(signers []*signer) (JWKS, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, s := range signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.private.Public(), KeyID: s.kid, Algorithm: s.algorithm, Use: "sig"})
	}
	body, err := json.Marshal(set)
	if err != nil {
		return JWKS{}, fmt.Errorf("encoding the key set: %w", err)
	}
	sum := sha256.Sum256(body)
	return JWKS{Body: body, ETag: `"` + encode(sum[:]) + `"`}, nil
}

// thumbprint is the kid (RFC 7638 §3): SHA-256 over the required members.
func thumbprint(public crypto.PublicKey) (string, error) {
	jwk := jose.JSONWebKey{Key: public}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("computing a thumbprint: %w", err)
	}
	return encode(sum), nil
}
