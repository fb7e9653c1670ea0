package manage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

var errMetadata = fmt.Errorf("must be a JSON object of at most %d bytes, nested at most %d deep, of valid Unicode, no name twice in it", maxMetadata, maxDepth)

// normalMetadata refuses what a strict checker would, since metadata may become
// part of a token, and drops insignificant space.
func normalMetadata(m json.RawMessage) (json.RawMessage, error) {
	if len(m) == 0 {
		return nil, nil
	}
	var compact bytes.Buffer
	if !utf8.Valid(m) || json.Compact(&compact, m) != nil || compact.Len() > maxMetadata || compact.Bytes()[0] != '{' {
		return nil, errMetadata
	}
	dec := json.NewDecoder(bytes.NewReader(compact.Bytes()))
	dec.UseNumber()
	if err := walk(dec, 0); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// broken reports what the decoder writes for half a surrogate pair: U+FFFD.
func broken(text string) bool { return strings.ContainsRune(text, utf8.RuneError) }

// walk reads one value and fails on a repeated name or too deep a nest.
func walk(dec *json.Decoder, depth int) error {
	t, err := dec.Token()
	if err != nil {
		return errors.Join(errMetadata, err)
	}
	if text, ok := t.(string); ok && broken(text) {
		return errMetadata
	}
	delim, nested := t.(json.Delim)
	if !nested {
		return nil
	}
	if depth == maxDepth {
		return errMetadata
	}
	seen := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			name, err := dec.Token()
			if err != nil {
				return errors.Join(errMetadata, err)
			}
			text := name.(string)
			if seen[text] || broken(text) {
				return errMetadata
			}
			seen[text] = true
		}
		if err := walk(dec, depth+1); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(errMetadata, err)
	}
	return nil
}
