package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// A coordinate is as long as the field, zeros in front included (RFC 7518
// §6.2.1.2).
func TestACoordinateThatBeginsWithAZeroKeepsIt(t *testing.T) {
	for name, at := range map[string]int{"x": 1, "y": 33} {
		var key *ecdsa.PrivateKey
		for point := []byte{33: 1}; key == nil || point[at] != 0; {
			var err error
			if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
				t.Fatal(err)
			}
			if point, err = key.PublicKey.Bytes(); err != nil {
				t.Fatal(err)
			}
		}
		s, err := newSigner(ES256, key)
		if err != nil {
			t.Fatal(err)
		}
		jwks, err := newJWKS([]*signer{s})
		if err != nil {
			t.Fatal(err)
		}
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal(jwks.Body, &set); err != nil || len(set.Keys) != 1 {
			t.Fatalf("%s, %v", jwks.Body, err)
		}
		if k := set.Keys[0]; len(k["x"]) != 43 || len(k["y"]) != 43 || k[name][0] != 'A' || k["alg"] != ES256 || k["use"] != "sig" {
			t.Errorf("%s: %v", name, k)
		}
		var read jose.JSONWebKeySet
		if err := json.Unmarshal(jwks.Body, &read); err != nil || !key.PublicKey.Equal(read.Keys[0].Key) {
			t.Errorf("%s: go-jose reads another key, %v", name, err)
		}
	}
}
