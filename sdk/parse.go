package sdk

import (
	"encoding/base64"
	"strings"

	"github.com/cambio-auth/cambio/internal/wire"
)

// Sizes of what is read at all, in bytes.
const (
	maxToken     = 16 << 10
	maxList      = 1 << 20                  // of a status list token
	maxHeader    = 1 << 10                  // of the encoded header
	maxSignature = (maxRSABits/8*4 + 2) / 3 // of the encoded signature
	maxKid       = 128
)

var (
	errTooLong   = refused("token too long")
	errForm      = refused("not a compact JWS")
	errHeader    = refused("header is not alg, kid and typ alone")
	errTyp       = refused("typ is another's")
	errAlg       = refused("alg not accepted")
	errKid       = refused("kid missing or too long")
	errSignature = refused("signature does not verify")
)

// compact is a token in its one spelling (RFC 7515 §7.1), decoded but not yet
// believed.
type compact struct {
	header    header
	payload   string
	signed    []byte // header and payload as they came: the bytes under the signature
	signature []byte
}

type header struct {
	alg Algorithm
	kid string
	typ string
}

// form is a kind of token. Each is read by a function of its own, so that none
// can pass for another (RFC 8725 §3.12).
type form struct {
	typ     string
	maxSize int
}

var (
	accessToken = form{wire.TypAccessToken, maxToken}
	statusToken = form{wire.TypStatusList, maxList}
)

// cut finds the ends of header and payload. It looks at sizes and dots alone, so
// that most garbage costs nothing.
func (f form) cut(raw string) (header, payload int, err error) {
	if len(raw) > f.maxSize {
		return 0, 0, errTooLong
	}
	header = strings.IndexByte(raw, '.')
	payload = header + 1 + strings.IndexByte(raw[header+1:], '.')
	signature := raw[payload+1:]
	switch {
	case header < 1, header > maxHeader, payload <= header+1:
		return 0, 0, errForm
	case signature == "", len(signature) > maxSignature, strings.IndexByte(signature, '.') >= 0:
		return 0, 0, errForm
	}
	return header, payload, nil
}

// split decodes raw, and reads its header.
func (f form) split(raw string) (compact, error) {
	head, body, err := f.cut(raw)
	if err != nil {
		return compact{}, err
	}
	// The decoder would skip these two.
	if strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return compact{}, errForm
	}
	text := []byte(raw)
	var room [1 << 10]byte // enough for most tokens
	doc, ok := decode(room[:], text[:head])
	if !ok {
		return compact{}, errForm
	}
	token := compact{signed: text[:body]}
	if token.header, err = readHeader(string(doc)); err != nil {
		return compact{}, err
	}
	if !f.is(token.header.typ) {
		return compact{}, errTyp
	}
	payload, ok1 := decode(room[:], text[head+1:body])
	token.payload = string(payload)
	token.signature, ok = decode(nil, text[body+1:])
	if !ok1 || !ok {
		return compact{}, errForm
	}
	return token, nil
}

// strictBase64 knows one spelling: no padding, no unused bits.
var strictBase64 = base64.RawURLEncoding.Strict()

// decode decodes part into room, if that is enough.
func decode(room, part []byte) ([]byte, bool) {
	if size := strictBase64.DecodedLen(len(part)); size > len(room) {
		room = make([]byte, size)
	}
	n, err := strictBase64.Decode(room, part)
	return room[:n], err == nil
}

// readHeader takes alg, kid and typ, each once, and nothing else. That one rule
// ends crit, b64, zip, jwk, jku, x5u and x5c (RFC 8725 §3.10).
func readHeader(doc string) (header, error) {
	var h header
	var r jsonReader
	r.read(doc)
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "alg":
			h.alg = Algorithm(r.text()).canonical()
		case "kid":
			h.kid = r.text()
		case "typ":
			h.typ = r.text()
		default:
			r.fail()
		}
	}
	switch {
	case r.end() != nil:
		return header{}, errHeader
	case h.kid == "" || len(h.kid) > maxKid:
		return header{}, errKid
	}
	return h, nil
}

// is compares the media type of a token, which may leave out "application/" and
// has no case (RFC 7515 §4.1.9).
func (f form) is(typ string) bool {
	return strings.EqualFold(typ, f.typ) || strings.EqualFold(typ, "application/"+f.typ)
}
