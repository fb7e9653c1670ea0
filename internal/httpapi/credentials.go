package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// credentials are those of a client, not yet looked at.
type credentials struct {
	id string
	by client.Credential

	// accepted is called once they have proved good. Nil: nothing is left to do.
	accepted func() error
}

// credentialsOf reads the one way in which a request authenticates its client: Basic or
// a secret in the form (RFC 6749 §2.3.1), an assertion (RFC 7521 §4.2), or else the
// certificate of the connection (RFC 8705 §2). Two ways at once are the caller's
// mistake, though a certificate beside another way means nothing: proxies have them.
// None, or one that we do not know, leaves the client unauthenticated.
//
// A nil form is that of the management API, where a header names who has a
// certificate, and nobody asserts anything: no standard says how.
func (s *Server) credentialsOf(r *http.Request, f form) (credentials, error) {
	id, secret := f.get(wire.FieldClientID), f.get(wire.FieldClientSecret)
	if f == nil {
		id = strings.Join(r.Header.Values(wire.HeaderClientID), ",") // of two, no client has the name
	}
	asserted := f.get(wire.FieldClientAssertion)
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) > 1,
		len(headers) == 1 && (secret != "" || asserted != ""),
		secret != "" && asserted != "":
		return credentials{}, errTwoMethods
	case asserted != "":
		return s.assertionCredentials(f.get(wire.FieldAssertionType), asserted, id)
	case len(headers) == 1:
		return basicCredentials(headers[0], id)
	case id != "" && secret != "":
		return credentials{id: id, by: client.BySecret(verifier.NewSecret(secret))}, nil
	}
	return s.certificateCredentials(r, id)
}

// assertionCredentials reads private_key_jwt (OpenID Connect Core §9). What it must be
// for is the issuer; the URL of the token endpoint is taken too, which RFC 7523 §3
// names, at whichever endpoint of ours.
func (s *Server) assertionCredentials(kind, text, inForm string) (credentials, error) {
	if kind != wire.AssertionJWT {
		return credentials{}, badAssertion("its type is not supported")
	}
	a, err := readAssertion(text, []string{s.issuer, s.issuer + wire.PathToken}, s.now())
	if err == nil && inForm != "" && inForm != a.clientID {
		err = badAssertion("client_id is another")
	}
	if err != nil {
		return credentials{}, err
	}
	return credentials{a.clientID, a.Signed, func() error { return s.used.use(a, s.now()) }}, nil
}

// certificateCredentials takes what the TLS connection proves, and no header: those
// that proxies write, anybody can.
func (s *Server) certificateCredentials(r *http.Request, id string) (credentials, error) {
	if id == "" || r.TLS == nil || !asksForCertificates(s.tls) {
		return credentials{}, fmt.Errorf("%w: no credentials", exchange.ErrClient)
	}
	cert, ok := client.CertificateOf(r.TLS.PeerCertificates, s.clientCAs(), s.now())
	if !ok {
		return credentials{}, fmt.Errorf("%w: no credentials, nor a certificate that is valid now", exchange.ErrClient)
	}
	return credentials{id: id, by: cert}, nil
}

// admitted authenticates by find, which looks the client up.
func (cred credentials) admitted(ctx context.Context, find func(ctx context.Context, id string, by client.Credential) (*exchange.Caller, error)) (*exchange.Caller, error) {
	caller, err := find(ctx, cred.id, cred.by)
	if err != nil || cred.accepted == nil {
		return caller, err
	}
	if err := cred.accepted(); errors.Is(err, exchange.ErrClient) {
		return nil, fmt.Errorf("%w: %w", &exchange.ClientError{Known: caller.ID}, err)
	} else if err != nil {
		return nil, err
	}
	return caller, nil
}

// basicCredentials reads an Authorization header. A client_id beside it may only say
// the same.
func basicCredentials(header, beside string) (credentials, error) {
	id, secret, ok := parseBasic(header)
	if !ok || id == "" || secret == "" {
		return credentials{}, fmt.Errorf("%w: no usable Basic credentials", exchange.ErrClient)
	}
	if beside != "" && beside != id {
		return credentials{}, errTwoClients
	}
	return credentials{id: id, by: client.BySecret(verifier.NewSecret(secret))}, nil
}

// parseBasic splits at the first colon and form-decodes each half (RFC 6749
// §2.3.1). Clients that do not encode are understood as well, because our ids
// and secrets have no character that decoding would change.
func parseBasic(header string) (id, secret string, ok bool) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	pair, err := base64.StdEncoding.DecodeString(strings.Trim(encoded, " "))
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(pair), ":")
	id, okID := formDecode(id)
	secret, okSecret := formDecode(secret)
	return id, secret, ok && okID && okSecret
}
