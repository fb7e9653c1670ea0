package manage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cambio-auth/cambio/internal/permission"
	"github.com/cambio-auth/cambio/verifier"
)

// A checker refuses tokens over 16 KiB. These bounds keep every token below
// that: permissions stand in it twice, as a map and as a scope.
const (
	maxPermissions = 3840    // bytes, of either form
	maxMetadata    = 2 << 10 // bytes of JSON
	maxDepth       = 16      // of metadata; a checker reads 32 levels
	maxAudiences   = 100
	maxAudience    = 512 // bytes
)

func validPermissions(p verifier.Permissions) error {
	if err := permission.Validate(p); err != nil {
		return err
	}
	return permissionsSize(p)
}

func permissionsSize(p verifier.Permissions) error {
	asJSON, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if len(asJSON) > maxPermissions || len(permission.Scope(p)) > maxPermissions {
		return fmt.Errorf("must be at most %d bytes, also when written as a scope", maxPermissions)
	}
	return nil
}

// validAudiences refuses what no request could name: audiences are compared
// byte for byte, and a resource has no fragment (RFC 8707 §2).
func validAudiences(audiences []string) error {
	if len(audiences) > maxAudiences {
		return fmt.Errorf("at most %d", maxAudiences)
	}
	for _, a := range audiences {
		switch {
		case a == "" || len(a) > maxAudience || !utf8.ValidString(a):
			return fmt.Errorf("%.40q: must be 1 to %d bytes of text", a, maxAudience)
		case strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r == '#' || r == 0x7f }):
			return fmt.Errorf("%.40q: must have no space and no #", a)
		}
	}
	return nil
}

// normalMetadata refuses what a strict checker would, since metadata may become
// part of a token, and drops insignificant space. It takes at most size bytes.
func normalMetadata(m json.RawMessage, size int) (json.RawMessage, error) {
	if len(m) == 0 {
		return nil, nil
	}
	var compact bytes.Buffer
	fits := utf8.Valid(m) && json.Compact(&compact, m) == nil && compact.Len() <= size && compact.Bytes()[0] == '{'
	dec := json.NewDecoder(bytes.NewReader(compact.Bytes()))
	dec.UseNumber()
	if !fits || !plain(dec, 0) {
		return nil, fmt.Errorf("must be a JSON object of at most %d bytes, nested at most %d deep, of valid Unicode, no name twice in it", size, maxDepth)
	}
	return compact.Bytes(), nil
}

// broken reports what the decoder writes for half a surrogate pair: U+FFFD.
func broken(text string) bool { return strings.ContainsRune(text, utf8.RuneError) }

// plain reads one value: it has no name twice and is not nested too deep.
func plain(dec *json.Decoder, depth int) bool {
	t, err := dec.Token()
	if err != nil {
		return false
	}
	if text, ok := t.(string); ok && broken(text) {
		return false
	}
	delim, nested := t.(json.Delim)
	if !nested {
		return true
	}
	if depth == maxDepth {
		return false
	}
	seen := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			name, err := dec.Token()
			if err != nil {
				return false
			}
			text := name.(string)
			if seen[text] || broken(text) {
				return false
			}
			seen[text] = true
		}
		if !plain(dec, depth+1) {
			return false
		}
	}
	_, err = dec.Token() // what ends it
	return err == nil
}
