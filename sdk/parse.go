package sdk

import (
	"encoding/base64"
	"strings"

	"github.com/cambio-auth/cambio/internal/wire"
)

// Sizes of what is read at all, in bytes.
const (
	maxToken  = 16 << 10
	maxHeader = 1 << 10 // of the encoded header
	maxKid    = 128
)

var (
	errTooLong   = refused("token too long")
	errForm      = refused("not a compact JWS")
	errHeader    = refused("header is not alg, kid and typ alone")
	errTyp       = refused("typ is not at+jwt")
	errAlg       = refused("alg not accepted")
	errKid       = refused("kid missing or too long")
	errSignature = refused("signature does not verify")
)

// compact is a token in its one spelling (RFC 7515 §7.1), decoded but not yet
// believed.
type compact struct {
	header    header
	payload   []byte
	signed    string // header and payload as they came: the bytes under the signature
	signature []byte
}

type header struct {
	alg Algorithm
	kid string
	typ string
}

// split cuts and decodes raw, and reads its header.
func split(raw string) (compact, error) {
	if len(raw) > maxToken {
		return compact{}, errTooLong
	}
	head, rest, _ := strings.Cut(raw, ".")
	body, sig, found := strings.Cut(rest, ".")
	if !found || len(head) > maxHeader {
		return compact{}, errForm
	}
	headJSON, ok1 := decode(head)
	payload, ok2 := decode(body)
	signature, ok3 := decode(sig)
	if !ok1 || !ok2 || !ok3 {
		return compact{}, errForm
	}
	h, err := readHeader(headJSON)
	if err != nil {
		return compact{}, err
	}
	return compact{h, payload, raw[:len(head)+1+len(body)], signature}, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

// decode takes base64url in its only canonical spelling: no padding, no unused
// bits, and none of the newlines that encoding/base64 would skip.
func decode(part string) ([]byte, bool) {
	if part == "" || strings.ContainsAny(part, "\r\n") {
		return nil, false
	}
	decoded, err := strictBase64.DecodeString(part)
	return decoded, err == nil
}

// readHeader takes alg, kid and typ, each once, and nothing else. That one rule
// ends crit, b64, zip, jwk, jku, x5u and x5c (RFC 8725 §3.10).
func readHeader(data []byte) (header, error) {
	var h header
	err := readJSON(data, func(r *jsonReader) error {
		return r.object(func(name string) (err error) {
			switch name {
			case "alg":
				var alg string
				alg, err = r.text()
				h.alg = Algorithm(alg).canonical()
			case "kid":
				h.kid, err = r.text()
			case "typ":
				h.typ, err = r.text()
			default:
				err = errJSON
			}
			return err
		})
	})
	switch {
	case err != nil:
		return header{}, errHeader
	case !isAccessToken(h.typ):
		return header{}, errTyp
	case h.kid == "" || len(h.kid) > maxKid:
		return header{}, errKid
	}
	return h, nil
}

// isAccessToken accepts the short and the full media type (RFC 9068 §4).
func isAccessToken(typ string) bool {
	return strings.EqualFold(typ, wire.TypAccessToken) || strings.EqualFold(typ, "application/"+wire.TypAccessToken)
}
