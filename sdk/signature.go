package sdk

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"sync/atomic"
)

// Algorithm is how a token is signed, by its JOSE name.
type Algorithm string

// The algorithms that exist here.
const (
	EdDSA Algorithm = "EdDSA" // Ed25519; its other name, "Ed25519" (RFC 9864), is taken too
	ES256 Algorithm = "ES256" // ECDSA on P-256 with SHA-256
	RS256 Algorithm = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
)

func (a Algorithm) canonical() Algorithm {
	if a == "Ed25519" {
		return EdDSA
	}
	return a
}

// publicKey is a key that may have signed a token, for one algorithm only
// (RFC 8725 §3.1).
type publicKey struct {
	kid string
	alg Algorithm
	key crypto.PublicKey // fits alg: see readKey

	// withdrawn is set once the issuer no longer publishes this very key. It is
	// what makes every token verified with it die, wherever it is remembered.
	withdrawn atomic.Bool
}

func (k *publicKey) equal(other *publicKey) bool {
	key, ok := k.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.kid == other.kid && k.alg == other.alg && key.Equal(other.key)
}

// signed fails unless k signed token, by its own algorithm.
func (k *publicKey) signed(token compact) error {
	if k.alg != token.header.alg {
		return errAlg
	}
	if !k.verify(token.signed, token.signature) {
		return errSignature
	}
	return nil
}

// verify checks signature over signed, the very bytes of the token.
func (k *publicKey) verify(signed, signature []byte) bool {
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(key, signed, signature)
	case *ecdsa.PublicKey:
		return verifyES256(key, signed, signature)
	case *rsa.PublicKey:
		digest := sha256.Sum256(signed)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	}
	return false
}

// verifyES256 refuses the higher of the two s that verify: else every token
// would have a second spelling.
func verifyES256(key *ecdsa.PublicKey, signed, signature []byte) bool {
	if len(signature) != 64 || bytes.Compare(signature[32:], halfOrder) > 0 {
		return false
	}
	digest := sha256.Sum256(signed)
	var room [2 + 2*35]byte
	der := appendInteger(room[:2], signature[:32])
	der = appendInteger(der, signature[32:])
	der[0], der[1] = 0x30, byte(len(der)-2)
	return ecdsa.VerifyASN1(key, digest[:], der)
}

// appendInteger appends the unsigned big-endian n as ASN.1 writes an INTEGER: in
// the fewest bytes that leave the sign bit clear.
func appendInteger(der, n []byte) []byte {
	n = bytes.TrimLeft(n, "\x00")
	if len(n) == 0 || n[0] >= 0x80 {
		return append(append(der, 0x02, byte(len(n)+1), 0), n...)
	}
	return append(append(der, 0x02, byte(len(n))), n...)
}

// halfOrder is half the order of P-256, rounded down, in 32 bytes.
var halfOrder = new(big.Int).Rsh(elliptic.P256().Params().N, 1).FillBytes(make([]byte, 32))
