package peers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// many is more tokens than are remembered by who remembers one.
const many = 64

func BenchmarkColdCheck(b *testing.B) {
	inEveryAlgorithm(b, func(b *testing.B, iss *sdktest.Issuer, alg string) {
		all := runners(b, iss, contenders(b, iss, alg, 1), goodTokens(iss, many))
		b.Run("in turns", func(b *testing.B) { inTurns(b, iss, all, true) })
		for _, r := range all {
			b.Run(r.name, func(b *testing.B) { alone(b, r) })
		}
	})
}

func BenchmarkRepeatedCheck(b *testing.B) {
	inEveryAlgorithm(b, func(b *testing.B, iss *sdktest.Issuer, alg string) {
		inTurns(b, iss, runners(b, iss, contenders(b, iss, alg, 0), goodTokens(iss, 1)), true)
	})
}

// What anybody can send must not cost more than what is good. A forged token has
// the signature of another, so that the primitive has all its work.
func BenchmarkForgedSignature(b *testing.B) {
	inEveryAlgorithm(b, func(b *testing.B, iss *sdktest.Issuer, alg string) {
		tokens := goodTokens(iss, many)
		_, signature := signedPart(good(iss))
		for i, token := range tokens {
			signed, _ := signedPart(token)
			tokens[i] = signed + "." + signature
		}
		inTurns(b, iss, runners(b, iss, contenders(b, iss, alg, 1), tokens), false)
	})
}

func inEveryAlgorithm(b *testing.B, run func(b *testing.B, iss *sdktest.Issuer, alg string)) {
	for _, alg := range algorithms {
		b.Run(alg, func(b *testing.B) { run(b, start(b, alg), alg) })
	}
}

func goodTokens(iss *sdktest.Issuer, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = good(iss)
	}
	return all
}

func signedPart(token string) (signed, signature string) {
	last := strings.LastIndexByte(token, '.')
	return token[:last], token[last+1:]
}

// runner checks the i-th token of a ring.
type runner struct {
	name  string
	check func(i int) error
}

// runners are the raw signature, which is the floor, and then the contenders.
func runners(b *testing.B, iss *sdktest.Issuer, all []contender, tokens []string) []runner {
	b.Helper()
	each := []runner{{"raw", primitive(b, iss, tokens)}}
	for _, c := range all {
		each = append(each, runner{c.name, func(i int) error {
			_, err := c.check(b.Context(), tokens[i%len(tokens)])
			return err
		}})
	}
	return each
}

var errForged = errors.New("forged")

// primitive verifies the signatures of tokens and does nothing else.
func primitive(b *testing.B, iss *sdktest.Issuer, tokens []string) func(i int) error {
	b.Helper()
	signed, signatures := make([][]byte, len(tokens)), make([][]byte, len(tokens))
	for i, token := range tokens {
		text, signature := signedPart(token)
		signed[i], signatures[i] = []byte(text), decode(signature)
	}
	var verify func(signed, signature []byte) bool
	switch key := publicKey(b, iss).(type) {
	case ed25519.PublicKey:
		verify = func(signed, signature []byte) bool { return ed25519.Verify(key, signed, signature) }
	case *ecdsa.PublicKey:
		verify = func(signed, signature []byte) bool {
			digest := sha256.Sum256(signed)
			return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}
	case *rsa.PublicKey:
		verify = func(signed, signature []byte) bool {
			digest := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
		}
	}
	return func(i int) error {
		if !verify(signed[i%len(signed)], signatures[i%len(signed)]) {
			return errForged
		}
		return nil
	}
}

// inTurns reports how many times the signature alone each contender costs, and
// how often it fetches the keys that it has.
func inTurns(b *testing.B, iss *sdktest.Issuer, all []runner, accepted bool) {
	b.Helper()
	took, fetched, order := make([][]time.Duration, len(all)), make([]int, len(all)), make([]int, len(all))
	for n := range all {
		order[n] = n
		_ = all[n].check(1) // fetches the keys
	}
	for i := 0; b.Loop(); i++ {
		rand.Shuffle(len(order), func(x, y int) { order[x], order[y] = order[y], order[x] })
		for _, n := range order {
			before, began := iss.Fetches(), time.Now()
			err := all[n].check(i)
			took[n] = append(took[n], time.Since(began))
			fetched[n] += iss.Fetches() - before
			if (err == nil) != accepted {
				b.Fatalf("%s: %v", all[n].name, err)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // of all together: says nothing, and zero hides it
	for n := 1; n < len(all); n++ {
		b.ReportMetric(float64(median(took[n]))/float64(median(took[0])), all[n].name+"×raw")
		if fetched[n] > 0 {
			b.ReportMetric(float64(fetched[n])/float64(b.N), all[n].name+"-fetches/op")
		}
	}
}

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}

func alone(b *testing.B, r runner) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := r.check(i); err != nil {
			b.Fatal(err)
		}
	}
}
