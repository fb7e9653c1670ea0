package httpapi

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// credentials are those of a client, not yet looked at.
type credentials struct {
	id     string
	secret verifier.Secret
}

// credentialsOf reads client_secret_basic or client_secret_post (RFC 6749
// §2.3.1). Two ways at once are the caller's mistake; none, or one that we do not
// know, leaves the client unauthenticated.
func credentialsOf(h http.Header, f form) (credentials, error) {
	id, secret := f.get(wire.FieldClientID), f.get(wire.FieldClientSecret)
	assertion := f.get(wire.FieldClientAssertion)
	headers := h.Values("Authorization")
	switch {
	case len(headers) > 1,
		len(headers) == 1 && (secret != "" || assertion != ""),
		secret != "" && assertion != "":
		return credentials{}, errTwoMethods
	case assertion != "":
		return credentials{}, fmt.Errorf("%w: client_assertion is not supported", exchange.ErrClient)
	case len(headers) == 1:
		return basicCredentials(headers[0], id)
	case id == "" || secret == "":
		return credentials{}, fmt.Errorf("%w: no credentials", exchange.ErrClient)
	}
	return credentials{id, verifier.NewSecret(secret)}, nil
}

// basicCredentials reads an Authorization header. A client_id in the form
// beside it may only say the same.
func basicCredentials(header, inForm string) (credentials, error) {
	id, secret, ok := parseBasic(header)
	if !ok || id == "" || secret == "" {
		return credentials{}, fmt.Errorf("%w: no usable Basic credentials", exchange.ErrClient)
	}
	if inForm != "" && inForm != id {
		return credentials{}, errTwoClients
	}
	return credentials{id, verifier.NewSecret(secret)}, nil
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
