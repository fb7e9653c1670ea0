package manage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/verifier"
)

// NewRegistered is what a client is to authenticate with beside secrets. Zero fields
// register nothing.
type NewRegistered struct {
	JWKS         json.RawMessage // a JWK Set of public keys (RFC 7517 §5), at most client.MaxKeys; null: none
	Certificates []string        // thumbprints, x5t#S256 (RFC 8705 §3.1), at most client.MaxCertificates
	SANDNS       string          // tls_client_auth_san_dns (RFC 8705 §2.1.2)
	SANURI       string          // tls_client_auth_san_uri, instead
}

// RegisteredPatch says what is to be otherwise about it. Nil fields stay.
type RegisteredPatch struct {
	JWKS         *json.RawMessage
	Certificates *[]string
	SANDNS       *string
	SANURI       *string
}

// ErrNoCredential refuses a change that would leave a client nothing to authenticate
// with.
var ErrNoCredential = errors.New("nothing would be left to authenticate with: add a secret or a key first, or disable the client")

func (n NewRegistered) patch() RegisteredPatch {
	return RegisteredPatch{&n.JWKS, &n.Certificates, &n.SANDNS, &n.SANURI}
}

// apply fails with InvalidErrors.
func (p RegisteredPatch) apply(r *client.Registered) error {
	var bad fields
	var err error
	if p.JWKS != nil {
		r.Keys, err = parseJWKS(*p.JWKS)
		bad.check("jwks", err)
	}
	if p.Certificates != nil {
		r.Certificates, err = parseThumbprints(*p.Certificates)
		bad.check("certificates", err)
	}
	if p.SANDNS != nil {
		r.SANDNS = strings.ToLower(*p.SANDNS)
		bad.check("tls_client_auth_san_dns", validSANDNS(r.SANDNS))
	}
	if p.SANURI != nil {
		r.SANURI = *p.SANURI
		bad.check("tls_client_auth_san_uri", validSANURI(r.SANURI))
	}
	if r.SANDNS != "" && r.SANURI != "" {
		bad.check("tls_client_auth_san_uri", errors.New("must not be there beside tls_client_auth_san_dns")) // RFC 8705 §2.1.2
	}
	return bad.err()
}

// parseJWKS reads a set of public keys. One that cannot be used is an error, and no
// error holds anything of a key: it may be a private one.
func parseJWKS(text json.RawMessage) ([]client.Key, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if !utf8.Valid(text) || !json.Valid(text) || !plain(dec, 0) || json.Unmarshal(text, &set) != nil || set.Keys == nil {
		return nil, errors.New(`must be a JWK Set, {"keys":[…]}, no name twice in it`)
	}
	if n := len(*set.Keys); n == 0 || n > client.MaxKeys {
		return nil, fmt.Errorf("must have 1 to %d keys", client.MaxKeys)
	}
	var keys []client.Key
	for i, jwk := range *set.Keys {
		key, err := client.ParseKey(jwk)
		switch {
		case err != nil:
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		case verifier.ValidateName(key.ID) != nil:
			return nil, fmt.Errorf("key %d: its kid must be printable text", i+1)
		case slices.ContainsFunc(keys, func(k client.Key) bool { return k.ID == key.ID }):
			return nil, fmt.Errorf("key %d: its kid is that of another", i+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseThumbprints(texts []string) ([]client.Thumbprint, error) {
	if len(texts) > client.MaxCertificates {
		return nil, fmt.Errorf("at most %d", client.MaxCertificates)
	}
	var all []client.Thumbprint
	for _, text := range distinct(texts) {
		t, err := client.ParseThumbprint(text)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

var dnsPattern = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// validSANDNS takes one name: a pattern would let others in.
func validSANDNS(name string) error {
	if name != "" && (len(name) > 253 || !dnsPattern.MatchString(name)) {
		return errors.New("must be a DNS name, such as orders.example.com, without a wildcard")
	}
	return nil
}

// validSANURI takes a URI in the spelling in which one of a certificate is compared.
func validSANURI(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > 2048 || !u.IsAbs() || u.String() != text {
		return errors.New("must be an absolute URI, such as spiffe://example.com/orders")
	}
	return nil
}

// authenticates fails with ErrNoCredential for a client that nobody could be.
func authenticates(c client.Client) error {
	if len(c.Secrets) == 0 && !c.Any() {
		return ErrNoCredential
	}
	return nil
}
