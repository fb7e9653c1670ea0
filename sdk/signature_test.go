package sdk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
)

// integers at the edges of what half a signature can say.
func integers() map[string]*big.Int {
	one, n := big.NewInt(1), elliptic.P256().Params().N
	power := func(e uint) *big.Int { return new(big.Int).Lsh(one, e) }
	return map[string]*big.Int{
		"0": {}, "1": one, "127": big.NewInt(127), "128": big.NewInt(128), "255": big.NewInt(255), "256": power(8),
		"2^128": power(128), "2^247-1": new(big.Int).Sub(power(247), one), "2^247": power(247), "2^248": power(248),
		"2^255-1": new(big.Int).Sub(power(255), one), "2^255": power(255), "2^256-1": new(big.Int).Sub(power(256), one),
		"n/2": new(big.Int).Rsh(n, 1), "n-1": new(big.Int).Sub(n, one), "n": n, "n+1": new(big.Int).Add(n, one),
	}
}

func TestAnIntegerIsWrittenAsASN1HasIt(t *testing.T) {
	for name, i := range integers() {
		want, err := asn1.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendInteger(nil, i.FillBytes(make([]byte, 32))); !slices.Equal(got, want) {
			t.Errorf("%s is %x, want %x", name, got, want)
		}
	}
}

func TestNoOddIntegerMakesAnES256SignatureGood(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := &publicKey{alg: ES256, key: &private.PublicKey}
	for nameOfR, r := range integers() {
		for nameOfS, s := range integers() {
			signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
			if key.verify([]byte("a.b"), signature) {
				t.Errorf("r = %s, s = %s verifies", nameOfR, nameOfS)
			}
		}
	}
}

// One signature in 128 has a half that begins with a zero byte, every other one an
// r with the high bit set.
func TestEverySignatureOfOneKeyVerifiesInItsLowSpellingOnly(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, signed := &publicKey{alg: ES256, key: &private.PublicKey}, []byte("a.b")
	digest, short, long := sha256.Sum256(signed), 0, 0
	for range 2000 {
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		low := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		high, _ := otherSpelling(low)
		if string(low[32:]) > string(high[32:]) {
			low, high = high, low
		}
		if low[0] == 0 || low[32] == 0 {
			short++
		}
		if low[0] >= 0x80 {
			long++
		}
		if !key.verify(signed, low) || key.verify(signed, high) {
			t.Fatalf("%x verifies: %v, %x: %v", low, key.verify(signed, low), high, key.verify(signed, high))
		}
	}
	if short == 0 || long == 0 {
		t.Fatalf("%d signatures with a short half, %d with the high bit set", short, long)
	}
}
