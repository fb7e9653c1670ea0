package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/verifier"
)

// Credential is what a caller proves with that it is a client. It may be held
// against several readings of the client, the newest of which counts.
type Credential interface {
	// Proves reports whether it is one of c's. It may be asked of a nil Client, the one
	// nobody registered, and does about the same work for it.
	Proves(c *Client) bool
}

// BySecret is client_secret_basic and client_secret_post.
func BySecret(secret verifier.Secret) Credential { return bySecret{secret} }

type bySecret struct{ secret verifier.Secret }

func (b bySecret) Proves(c *Client) bool { return c.Authenticate(b.secret) }

// Signed is an assertion as far as its signature goes; what it says is judged before.
type Signed struct {
	KID       string // that it names; empty: none
	Algorithm string // that it claims: what counts is that of the key
	Message   []byte
	Signature []byte
}

// Proves implements Credential (RFC 7523 §3). A key is found by its kid among those of
// the client alone; without a kid the client must have no other key.
func (s Signed) Proves(c *Client) bool {
	key, known := c.signs(s)
	if !known {
		key = decoy(s.Algorithm)
	}
	return key.verifies(s.Message, s.Signature) && known
}

func (c *Client) signs(s Signed) (Key, bool) {
	if c == nil || c.Disabled {
		return Key{}, false
	}
	i := slices.IndexFunc(c.Keys, func(k Key) bool { return k.ID == s.KID })
	if s.KID == "" && len(c.Keys) == 1 {
		i = 0
	}
	if i < 0 || c.Keys[i].Algorithm != s.Algorithm {
		return Key{}, false
	}
	return c.Keys[i], true
}

// Thumbprint is the SHA-256 of a certificate in DER: x5t#S256 (RFC 8705 §3.1).
type Thumbprint [sha256.Size]byte

// Certificate is what the certificate of a TLS connection proves: that its peer has
// the private key, and the names that an authority vouches for.
type Certificate struct {
	Thumbprint Thumbprint
	DNS, URIs  []string // none: no authority of ours vouches for it
}

// CertificateOf reads the chain that a peer sent, leaf first. Its names count only if
// one of roots vouches for it as a client (RFC 8705 §2.1); nil roots vouch for nobody.
// It reports false for none, and for one whose time has not come or is over.
func CertificateOf(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) (Certificate, bool) {
	if len(chain) == 0 || now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter) {
		return Certificate{}, false
	}
	leaf := chain[0]
	cert := Certificate{Thumbprint: ThumbprintOf(leaf)}
	if roots == nil {
		return cert, true
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return cert, true
	}
	cert.DNS = leaf.DNSNames
	for _, u := range leaf.URIs {
		cert.URIs = append(cert.URIs, u.String())
	}
	return cert, true
}

// Proves implements Credential. A name must be the whole of one in the certificate: a
// wildcard there is a name like any other.
func (cert Certificate) Proves(c *Client) bool {
	if c == nil || c.Disabled {
		return false
	}
	for _, known := range c.Certificates {
		if subtle.ConstantTimeCompare(known[:], cert.Thumbprint[:]) == 1 {
			return true
		}
	}
	dns := c.SANDNS != "" && slices.ContainsFunc(cert.DNS, func(name string) bool { return strings.EqualFold(name, c.SANDNS) })
	return dns || c.SANURI != "" && slices.Contains(cert.URIs, c.SANURI)
}
