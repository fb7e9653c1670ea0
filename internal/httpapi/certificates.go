package httpapi

import (
	"crypto/tls"
	"crypto/x509"
)

// asksForCertificates reports whether clients may authenticate with certificates.
func asksForCertificates(cfg *tls.Config) bool {
	return cfg != nil && cfg.ClientAuth != tls.NoClientCert
}

// clientCAs are the authorities as of now; nil: there are none.
func (s *Server) clientCAs() *x509.CertPool {
	if s.cas == nil {
		return nil
	}
	return s.cas()
}

// authMethods are the ways to authenticate at the endpoints that take a form, by
// their registered names (RFC 7591 §2, OpenID Connect Core §9, RFC 8705 §2).
func (c Config) authMethods() []string {
	methods := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	if asksForCertificates(c.TLS) {
		if c.ClientCAs != nil {
			methods = append(methods, "tls_client_auth")
		}
		methods = append(methods, "self_signed_tls_client_auth")
	}
	return methods
}
