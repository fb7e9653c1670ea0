package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"github.com/cambio-auth/cambio/internal/client"
)

// authority makes certificates that are good for an hour before and after noon.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() *authority {
	key := must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: noon.AddDate(-10, 0, 0), NotAfter: noon.AddDate(10, 0, 0),
	}
	der := must1(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return &authority{must1(x509.ParseCertificate(der)), key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// makes a certificate for a client; a nil authority: one that it signs itself.
func (a *authority) makes(change func(*x509.Certificate)) tls.Certificate {
	key := must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "orders.example.com"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), DNSNames: []string{"orders.example.com"},
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der := must1(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must1(x509.ParseCertificate(der))}
}

func named(dns string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = []string{dns} }
}

func forURI(text string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames, c.URIs = nil, []*url.URL{must1(url.Parse(text))} }
}

// over makes r one that came over a connection whose peer has these certificates.
func over(r *http.Request, chain ...tls.Certificate) *http.Request {
	r.TLS = &tls.ConnectionState{}
	for _, c := range chain {
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, c.Leaf)
	}
	return r
}

func thumbprint(c tls.Certificate) string { return client.ThumbprintOf(c.Leaf).String() }
