package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/cambio-auth/cambio/internal/wire"
)

var strictBase64 = base64.RawURLEncoding.Strict()

// Read returns what a token says, whatever the time, if it is an access token that
// we signed with a key that is still published. We know the headers that we write,
// so a token with another one is not ours.
func (i *Issuer) Read(token string) (claims wire.Claims, ours bool) {
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	key := i.keys.published(header)
	if key == nil || strings.ContainsAny(token, "\r\n") { // which the decoder would skip
		return wire.Claims{}, false
	}
	sig, err := strictBase64.DecodeString(signature)
	if err != nil || !key.verifies([]byte(header+"."+payload), sig) {
		return wire.Claims{}, false
	}
	body, err := strictBase64.DecodeString(payload)
	if err != nil || json.Unmarshal(body, &claims) != nil || claims.Issuer != i.iss {
		return wire.Claims{}, false
	}
	return claims, true
}

// Refers reports whether a token that says this has the status at ref: not if its
// key was given another since, to call the token back.
func (i *Issuer) Refers(claims wire.Claims, ref StatusRef) bool {
	current, err := i.status(ref)
	return err == nil && claims.Status != nil && *claims.Status == *current
}

// published returns the key that writes this header, nil if none does that is in
// the key set now.
func (k *Keyring) published(header string) *signer {
	r := k.ring.Load()
	if r == nil {
		return nil
	}
	now := k.now()
	for _, keys := range r.keys {
		for i, sealed := range keys {
			s := r.signers[sealed.KID]
			if s == nil || s.header != header {
				continue
			}
			if state, _ := StateOf(keys, i, now); state != Removed {
				return s
			}
		}
	}
	return nil
}

// verifies is the counterpart of signature.
func (s *signer) verifies(message, signature []byte) bool {
	digest := sha256.Sum256(message)
	switch key := s.private.Public().(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, signature)
	case *ecdsa.PublicKey:
		if len(signature) != 64 {
			return false
		}
		return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	}
	return false
}
