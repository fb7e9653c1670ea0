package issuer

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// maxURL keeps the iss of a token short, in bytes.
const maxURL = 200

// plainPath leaves out what a router or a proxy could read in two ways.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)

// Path checks an issuer's URL and returns its path, without a slash at its end.
// It must be http or https, without user, query and fragment (RFC 8414 §2), and
// metadata must be able to stand under its path. Which schemes are safe where is
// for others to decide.
func Path(iss string) (string, error) {
	u, err := url.Parse(iss)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") || len(iss) > maxURL:
		return "", errors.New("must be a URL such as https://keys.example.com, of at most 200 bytes")
	case u.User != nil:
		return "", errors.New("must hold no user and no password")
	case strings.ContainsAny(iss, "?#"):
		return "", errors.New("must have no query and no fragment")
	case strings.HasSuffix(iss, "/"):
		return "", errors.New("must not end with a slash")
	case u.RawPath != "" || !plainPath.MatchString(u.Path):
		return "", errors.New("must have a plain path, or none")
	}
	return u.Path, nil
}
