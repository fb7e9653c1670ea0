package sdk

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of a key set.
const (
	maxKeySet  = 512 << 10 // bytes
	maxKeys    = 64
	minRSABits = 2048
	maxRSABits = 4096 // larger ones only make checking slow; go-jose says so too, but anybody may raise its limit
	minRSAExp  = 65537
)

var errKeySet = errors.New("not a usable key set")

// readKeySet reads a JWK Set (RFC 7517 §5). Each key is read on its own, and one
// that is not for us is skipped. Of two keys with one kid neither can be trusted,
// so both go. A set with nothing left, or with too much, is an error.
func readKeySet(body []byte) (map[string]*publicKey, error) {
	docs, err := cutKeySet(string(body))
	if err != nil || len(docs) > maxKeys {
		return nil, errKeySet
	}
	keys, count := map[string]*publicKey{}, map[string]int{}
	for _, doc := range docs {
		key, kid := readKey(doc)
		if count[kid]++; key != nil {
			keys[kid] = key
		}
	}
	for kid := range keys {
		if count[kid] > 1 {
			delete(keys, kid)
		}
	}
	if len(keys) == 0 {
		return nil, errKeySet
	}
	return keys, nil
}

// cutKeySet returns the members of "keys", uninterpreted.
func cutKeySet(body string) (docs []string, err error) {
	r := jsonReader{doc: body, lax: true}
	found := 0
	for r.open('{'); r.more('}'); {
		if r.name() != "keys" {
			r.skip()
			continue
		}
		found++
		for r.open('['); r.more(']'); {
			docs = append(docs, r.value())
		}
	}
	if r.end() != nil || found != 1 {
		return nil, errKeySet
	}
	return docs, nil
}

// jwk is what of a key we judge ourselves; go-jose reads the rest.
type jwk struct {
	kty, use, alg, kid string
	hasUse, hasOps     bool
	ops                []string
	private            bool
}

// readKey returns the key in doc, nil if it is not one for us to verify with,
// and its kid as far as that can be read.
func readKey(doc string) (*publicKey, string) {
	var meta jwk
	var r jsonReader
	r.read(doc)
	for r.open('{'); r.more('}'); {
		meta.member(&r, r.name())
	}
	if r.end() != nil || !meta.usable() {
		return nil, meta.kid
	}
	var read jose.JSONWebKey
	if read.UnmarshalJSON([]byte(doc)) != nil || read.KeyID != meta.kid || read.Algorithm != meta.alg {
		return nil, meta.kid
	}
	key := &publicKey{kid: meta.kid, alg: Algorithm(meta.alg).canonical(), key: read.Key}
	if !key.fits() {
		return nil, meta.kid
	}
	return key, meta.kid
}

func (k *jwk) member(r *jsonReader, name string) {
	switch name {
	case "kty":
		k.kty = r.text()
	case "use":
		k.hasUse = true
		k.use = r.text()
	case "alg":
		k.alg = r.text()
	case "kid":
		k.kid = r.text()
	case "key_ops":
		k.hasOps = true
		for r.open('['); r.more(']'); {
			k.ops = append(k.ops, r.text())
		}
	case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv":
		k.private = true
		r.skip()
	default:
		r.skip()
	}
}

func (k *jwk) usable() bool {
	switch {
	case k.kty != "OKP" && k.kty != "EC" && k.kty != "RSA", k.private:
		return false
	case k.hasUse && k.use != "sig", k.hasOps && !slices.Contains(k.ops, "verify"):
		return false
	}
	return k.kid != "" && len(k.kid) <= maxKid
}

// fits reports whether the key's type and size are those of its algorithm.
func (k *publicKey) fits() bool {
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		return k.alg == EdDSA && len(key) == ed25519.PublicKeySize
	case *ecdsa.PublicKey:
		return k.alg == ES256 && key.Curve == elliptic.P256()
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return k.alg == RS256 && bits >= minRSABits && bits <= maxRSABits && key.E >= minRSAExp
	}
	return false
}
