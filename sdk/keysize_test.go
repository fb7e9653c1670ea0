package sdk

import (
	"crypto/rsa"
	"math/big"
	"testing"
)

// go-jose has a bound of its own, which is a variable: any package in the
// process may raise it.
func TestTheBoundsOnRSAKeysAreOurs(t *testing.T) {
	for bits, want := range map[uint]bool{2047: false, 2048: true, 4096: true, 4097: false, 16384: false} {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		key := &publicKey{alg: RS256, key: &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}}
		if key.fits() != want {
			t.Errorf("%d bits: accepted is %v", bits, !want)
		}
	}
}
