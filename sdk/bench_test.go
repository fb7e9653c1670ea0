package sdk_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// benchIssuer signs with alg, by the real time.
func benchIssuer(b *testing.B, alg sdk.Algorithm) *sdktest.Issuer {
	b.Helper()
	iss := sdktest.Start()
	b.Cleanup(iss.Close)
	iss.Rotate(alg)
	iss.Withdraw()
	return iss
}

// benchChecker remembers seen tokens, and reads the clock without the issuer's
// lock.
func benchChecker(b *testing.B, iss *sdktest.Issuer, seen int) *sdk.Checker {
	b.Helper()
	config := iss.CheckerConfig(billing)
	config.Now, config.SeenCache = nil, seen
	checker, err := sdk.NewChecker(config)
	if err != nil {
		b.Fatal(err)
	}
	return checker
}

func tokens(iss *sdktest.Issuer, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = iss.Token(billing, "projects:read", "projects:write", "invoices:read")
	}
	return all
}

// primitive verifies the signature of token and does nothing else: the floor.
func primitive(b *testing.B, iss *sdktest.Issuer, token string) func() bool {
	b.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(iss.KeySet(), &set); err != nil {
		b.Fatal(err)
	}
	last := strings.LastIndexByte(token, '.')
	signed := []byte(token[:last])
	signature, err := base64.RawURLEncoding.DecodeString(token[last+1:])
	if err != nil {
		b.Fatal(err)
	}
	switch key := set.Keys[0].Key.(type) {
	case ed25519.PublicKey:
		return func() bool { return ed25519.Verify(key, signed, signature) }
	case *ecdsa.PublicKey:
		return func() bool {
			digest := sha256.Sum256(signed)
			return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}
	case *rsa.PublicKey:
		return func() bool {
			digest := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
		}
	}
	b.Fatal("no key")
	return nil
}

// inParallel runs do with a number that is another each time.
func inParallel(b *testing.B, do func(i int) bool) {
	b.Helper()
	b.ReportAllocs()
	if !do(0) {
		b.Fatal("not as it must be")
	}
	var begun atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		// Each goroutine begins elsewhere.
		for i := int(begun.Add(1)) * 977; pb.Next(); i++ {
			if !do(i) {
				b.Error("not as it must be")
				return
			}
		}
	})
}

func accepts(b *testing.B, checker *sdk.Checker, all []string) func(i int) bool {
	return func(i int) bool {
		_, err := checker.Check(b.Context(), all[i%len(all)])
		return err == nil
	}
}

func BenchmarkCheckOfATokenSeenForTheFirstTime(b *testing.B) {
	for _, alg := range []sdk.Algorithm{sdk.EdDSA, sdk.ES256, sdk.RS256} {
		b.Run(string(alg), func(b *testing.B) {
			iss := benchIssuer(b, alg)
			all := tokens(iss, 64)
			check := accepts(b, benchChecker(b, iss, 1), all) // one is remembered, which is never the next
			raw := primitive(b, iss, all[0])
			b.Run("raw signature", func(b *testing.B) { inParallel(b, func(int) bool { return raw() }) })
			b.Run("whole check", func(b *testing.B) { inParallel(b, check) })
			b.Run("both in turns", func(b *testing.B) { inTurns(b, raw, check) })
		})
	}
}

// inTurns reports how many times the signature alone a check costs.
func inTurns(b *testing.B, raw func() bool, check func(i int) bool) {
	var alone, whole []time.Duration
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		okRaw := raw()
		between := time.Now()
		okCheck := check(i)
		whole, alone = append(whole, time.Since(between)), append(alone, between.Sub(began))
		if !okRaw || !okCheck {
			b.Fatal("not accepted")
		}
	}
	slices.Sort(alone)
	slices.Sort(whole)
	b.ReportMetric(float64(whole[len(whole)/2])/float64(alone[len(alone)/2]), "×raw")
}

func BenchmarkCheckOfATokenSeenBefore(b *testing.B) {
	const many = 10_000
	iss := benchIssuer(b, sdk.EdDSA)
	checker, all := benchChecker(b, iss, 2*many), tokens(iss, many)
	check := accepts(b, checker, all)
	for i := range all {
		if !check(i) {
			b.Fatal("not accepted")
		}
	}
	one := []byte(all[0])
	b.Run("its SHA-256 alone", func(b *testing.B) {
		inParallel(b, func(int) bool { return sha256.Sum256(one) != [32]byte{} })
	})
	b.Run("one token", func(b *testing.B) { inParallel(b, accepts(b, checker, all[:1])) })
	b.Run("10000 tokens", func(b *testing.B) { inParallel(b, check) })
}

func BenchmarkVerifyAPIKeySeenBefore(b *testing.B) {
	const many = 1_000
	iss := benchIssuer(b, sdk.EdDSA)
	config := iss.ClientConfig(billing)
	config.Now = nil
	client, err := sdk.NewClient(config)
	if err != nil {
		b.Fatal(err)
	}
	all := make([]string, many)
	asked := sdk.Permissions{"projects": {"read"}}
	verify := func(i int) bool {
		_, err := client.VerifyAPIKey(b.Context(), sdk.VerifyRequest{Key: all[i%many], Permissions: asked})
		return err == nil
	}
	for i := range all {
		all[i] = iss.AddKey(sdktest.Key{Permissions: sdk.Permissions{"projects": {"read", "write"}}})
		if !verify(i) {
			b.Fatal("not accepted")
		}
	}
	b.Run("one key", func(b *testing.B) { inParallel(b, func(int) bool { return verify(0) }) })
	b.Run("1000 keys", func(b *testing.B) { inParallel(b, verify) })
}

// What anybody can send must cost less than a good token of its size does.
func BenchmarkCheckOfGarbage(b *testing.B) {
	iss := benchIssuer(b, sdk.EdDSA)
	checker := benchChecker(b, iss, 1)
	good := tokens(iss, 64)
	forged := make([]string, len(good))
	for i := range forged {
		forged[i] = iss.Forged(billing, "projects:read")
	}
	header, _, _ := strings.Cut(good[0], ".")
	longest := func(payload string) string {
		const most, signature = 16 << 10, 86
		room := (most - len(header) - signature - 2) * 3 / 4
		encoded := base64.RawURLEncoding.EncodeToString([]byte((payload + strings.Repeat(" ", room))[:room]))
		return header + "." + encoded + "." + strings.Repeat("A", signature)
	}
	large := make([]string, 16)
	largeForged := make([]string, len(large))
	for i := range large {
		claims := iss.Claims(billing)
		claims["metadata"] = strings.Repeat("m", 11_500)
		large[i] = iss.Mint(claims)
		largeForged[i] = large[i][:len(large[i])-86] + forged[0][len(forged[0])-86:]
	}
	b.Run("a good token", func(b *testing.B) { inParallel(b, accepts(b, checker, good)) })
	b.Run("a good token of 16 KiB", func(b *testing.B) { inParallel(b, accepts(b, checker, large)) })
	for _, garbage := range []struct {
		name string
		all  []string
	}{
		{"1 MiB", []string{strings.Repeat("x", 1<<20)}},
		{"16 KiB", []string{strings.Repeat("x", 16<<10)}},
		{"16 KiB with two dots", []string{strings.Repeat("x", 1000) + "." + strings.Repeat("x", 15000) + "." + strings.Repeat("x", 86)}},
		{"16 KiB of claims", []string{longest(`{"iss":"` + iss.URL() + `","a":[` + strings.Repeat(`{"b":1},`, 1500))}},
		{"16 KiB of member names", []string{longest(`{` + members(2000))}},
		{"a forged signature", forged},
		{"a forged signature under 16 KiB", largeForged},
	} {
		b.Run(garbage.name, func(b *testing.B) {
			check := accepts(b, checker, garbage.all)
			inParallel(b, func(i int) bool { return !check(i) })
		})
	}
}

// members are n different ones of a JSON object.
func members(n int) string {
	var all strings.Builder
	for i := range n {
		all.WriteString(`"` + string(rune('a'+i%26)) + strings.Repeat("b", i/26%8) + string(rune('a'+i/208)) + `":1,`)
	}
	return all.String()
}
