package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/manage"
)

// clientKeyFlags are what a client authenticates with beside its secrets. Files are
// read when the command runs, and never again.
type clientKeyFlags struct {
	JWKS        string   `name:"jwks" xor:"jwks" placeholder:"FILE" help:"Its public keys, a JWK Set: it signs assertions with their private halves (private_key_jwt)."`
	Certificate []string `sep:"none" xor:"certificates" placeholder:"FILE" help:"A certificate, PEM, that it presents itself, whoever has signed it (self_signed_tls_client_auth). Repeat for more."`
	TLSSANDNS   *string  `name:"tls-san-dns" placeholder:"NAME" help:"The DNS name in its certificate, of an authority in CAMBIO_TLS_CLIENT_CA (tls_client_auth)."`
	TLSSANURI   *string  `name:"tls-san-uri" placeholder:"URI" help:"The URI in its certificate, instead."`
}

// patch reads the files. What is not named stays.
func (f clientKeyFlags) patch() (p manage.RegisteredPatch, err error) {
	p.SANDNS, p.SANURI = f.TLSSANDNS, f.TLSSANURI
	if f.JWKS != "" {
		text, err := os.ReadFile(f.JWKS)
		if err != nil {
			return p, &usageError{fmt.Errorf("--jwks: %w", err)}
		}
		p.JWKS = new(json.RawMessage(bytes.TrimSpace(text)))
	}
	if f.Certificate != nil {
		prints := make([]string, len(f.Certificate))
		for i, path := range f.Certificate {
			if prints[i], err = thumbprintIn(path); err != nil {
				return p, &usageError{fmt.Errorf("--certificate: %s: %w", path, err)}
			}
		}
		p.Certificates = &prints
	}
	return p, nil
}

// thumbprintIn reads the first certificate of a file, which is that of the client where
// others follow.
func thumbprintIn(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return "", errors.New("holds no certificate in PEM")
		}
		if block.Type == "CERTIFICATE" {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return "", err
			}
			return client.ThumbprintOf(cert).String(), nil
		}
		text = rest
	}
}

// newRegistered is what a patch makes of nothing.
func newRegistered(p manage.RegisteredPatch) (n manage.NewRegistered) {
	n.JWKS, n.Certificates = valueOf(p.JWKS), valueOf(p.Certificates)
	n.SANDNS, n.SANURI = valueOf(p.SANDNS), valueOf(p.SANURI)
	return n
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
