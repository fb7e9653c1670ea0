// Package permission decides one thing: does what is held cover what is asked.
//
// Permissions map a resource to the actions allowed on it. Names are exact,
// case-sensitive strings; there are no patterns, so "*" is a name like any
// other. The package works on plain maps, so that the public packages can give
// them types of their own.
//
// # Scope tokens
//
// A permission travels as the scope token "resource:action" (RFC 6749 §3.3),
// split at its first colon. Names of imported keys may not fit that form: such
// permissions stay in the map, and never appear in a scope.
package permission

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MaxName is the longest resource or action, in bytes.
const MaxName = 128

// ErrMalformed marks permissions that cannot be asked for or granted: a
// resource without actions, or a name that a scope token could not carry.
var ErrMalformed = errors.New("malformed permissions")

// Covers reports whether held contains every action of every resource in asked.
// Nothing asked is always covered.
func Covers(held, asked map[string][]string) bool {
	for resource, actions := range asked {
		have := held[resource]
		for _, action := range actions {
			if !slices.Contains(have, action) {
				return false
			}
		}
	}
	return true
}

// Intersect returns the permissions that a and b both hold, in a's order,
// without resources that would be left with no action.
func Intersect(a, b map[string][]string) map[string][]string {
	both := make(map[string][]string, len(a))
	for resource, actions := range a {
		var kept []string
		for _, action := range actions {
			if slices.Contains(b[resource], action) {
				kept = append(kept, action)
			}
		}
		if len(kept) > 0 {
			both[resource] = kept
		}
	}
	return both
}

// Validate refuses permissions that no scope could name: an empty list of
// actions, a resource or action outside [\x21\x23-\x5B\x5D-\x7E]{1,128}, or a
// resource with a colon. The error wraps ErrMalformed and names the culprit.
func Validate(p map[string][]string) error {
	if len(p) == 0 {
		return nil
	}
	for _, resource := range slices.Sorted(maps.Keys(p)) {
		if !validResource(resource) {
			return fmt.Errorf("%w: resource %q", ErrMalformed, clip(resource))
		}
		if len(p[resource]) == 0 {
			return fmt.Errorf("%w: resource %q has no actions", ErrMalformed, resource)
		}
		for _, action := range p[resource] {
			if !validName(action) {
				return fmt.Errorf("%w: action %q of resource %q", ErrMalformed, clip(action), resource)
			}
		}
	}
	return nil
}

// Scope renders p as scope tokens in sorted order, separated by single spaces.
// Names that no scope token can carry are left out.
func Scope(p map[string][]string) string {
	var tokens []string
	for resource, actions := range p {
		if !validResource(resource) {
			continue
		}
		for _, action := range actions {
			if validName(action) {
				tokens = append(tokens, resource+":"+action)
			}
		}
	}
	slices.Sort(tokens)
	return strings.Join(slices.Compact(tokens), " ")
}

// FromScope parses a scope parameter. Every token must be "resource:action"
// with valid names; otherwise the error wraps ErrMalformed.
func FromScope(scope string) (map[string][]string, error) {
	p := map[string][]string{}
	for token := range strings.SplitSeq(scope, " ") {
		if token == "" {
			continue
		}
		resource, action, found := strings.Cut(token, ":")
		if !found || !validResource(resource) || !validName(action) {
			return nil, fmt.Errorf("%w: scope token %q", ErrMalformed, clip(token))
		}
		if !slices.Contains(p[resource], action) {
			p[resource] = append(p[resource], action)
		}
	}
	return p, nil
}

func validResource(name string) bool {
	return validName(name) && !strings.Contains(name, ":")
}

func validName(name string) bool {
	if name == "" || len(name) > MaxName {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
