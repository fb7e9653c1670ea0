package httpapi

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/cambio-auth/cambio/internal/wire"
)

const maxIdempotencyKey = 255 // characters

var errIdempotencyKey = badRequest("Idempotency-Key must be one string of 1 to 255 printable ASCII characters")

var (
	quotedKey = regexp.MustCompile(`^"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"$`) // a String of RFC 9651 §3.3.3
	bareKey   = regexp.MustCompile(`^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$`)  // nothing that a list, parameters or a String have
)

// idempotencyKey reads the header Idempotency-Key: a string in quotes
// (draft-ietf-httpapi-idempotency-key-header §2.1), or the same without them, as many
// clients send it. Empty: there is none.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values(wire.HeaderIdempotencyKey)
	if len(values) == 0 {
		return "", nil
	}
	key := strings.Trim(values[0], " \t")
	switch {
	case len(values) > 1:
		return "", errIdempotencyKey
	case quotedKey.MatchString(key):
		key = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(key[1 : len(key)-1])
	case !bareKey.MatchString(key):
		return "", errIdempotencyKey
	}
	if key == "" || len(key) > maxIdempotencyKey {
		return "", errIdempotencyKey
	}
	return key, nil
}
