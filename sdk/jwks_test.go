package sdk_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

type jwk = map[string]any

// publishing returns a checker of iss that finds this set in place of its own.
func publishing(t *testing.T, iss *sdktest.Issuer, body string) *sdk.Checker {
	t.Helper()
	config := iss.CheckerConfig(billing)
	config.HTTPClient = newWire(says(200, body)).client()
	return newChecker(t, config)
}

func setOf(keys ...any) string {
	body, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// signingKey is the issuer's key as published, changed.
func signingKey(iss *sdktest.Issuer, change jwk) jwk {
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(iss.KeySet(), &set); err != nil {
		panic(err)
	}
	key := set.Keys[len(set.Keys)-1]
	for name, value := range change {
		if key[name] = value; value == nil {
			delete(key, name)
		}
	}
	return key
}

func exported(key any, alg, kid string) jwk {
	body, err := json.Marshal(jose.JSONWebKey{Key: key, Algorithm: alg, KeyID: kid, Use: "sig"})
	if err != nil {
		panic(err)
	}
	var out jwk
	if err := json.Unmarshal(body, &out); err != nil {
		panic(err)
	}
	return out
}

func TestAKeyIsSkippedWhen(t *testing.T) {
	iss := startAtNoon(t)
	other := startAtNoon(t)
	seed := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for name, change := range map[string]jwk{
		"its kty is not known":               {"kty": "AKP"},
		"its kty is missing":                 {"kty": nil},
		"it is symmetric":                    {"kty": "oct", "k": seed},
		"it is private":                      {"d": seed},
		"it carries a symmetric secret":      {"k": seed},
		"its use is encryption":              {"use": "enc"},
		"its use is empty":                   {"use": ""},
		"its use is not a string":            {"use": 1},
		"its operations are without verify":  {"key_ops": []string{"sign", "encrypt"}},
		"its operations are not an array":    {"key_ops": "verify"},
		"alg is missing":                     {"alg": nil},
		"alg does not fit the key":           {"alg": "ES256"},
		"alg is not for signatures":          {"alg": "ECDH-ES"},
		"kid is missing":                     {"kid": nil},
		"kid is empty":                       {"kid": ""},
		"kid is over 128 bytes":              {"kid": strings.Repeat("k", 129)},
		"its curve is not known":             {"crv": "Ed448"},
		"its point is too short":             {"x": base64.RawURLEncoding.EncodeToString(make([]byte, 31))},
		"its certificate chain is no chain":  {"x5c": []string{"AAAA"}},
		"it has a member nested beyond all ": {"x": nested(33)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checker := publishing(t, iss, setOf(signingKey(iss, change), signingKey(other, nil)))
				if err := checker.Ready(t.Context()); err != nil {
					t.Fatalf("the rest of the set is lost: %v", err)
				}
				wantRefused(t, check(t, checker, iss.Token(billing)))
				claims := other.Claims(billing)
				claims["iss"] = iss.URL()
				wantAccepted(t, check(t, checker, other.Mint(claims)))
			})
		})
	}
}

func TestAKeyIsKeptWhen(t *testing.T) {
	iss := startAtNoon(t)
	for name, change := range map[string]jwk{
		"it is as published":               nil,
		"use is missing":                   {"use": nil},
		"its operations include verify":    {"key_ops": []string{"verify"}},
		"alg is Ed25519":                   {"alg": "Ed25519"},
		"it has members we do not know":    {"exp": 1, "x-note": []int{1}},
		"it is one of many, the last even": {"use": "sig"},
	} {
		t.Run(name, func(t *testing.T) {
			checker := publishing(t, iss, setOf(jwk{"kty": "AKP"}, 7, nil, signingKey(iss, change)))
			_, err := checker.Check(t.Context(), iss.Token(billing))
			wantAccepted(t, err)
		})
	}
}

func TestAnRSAKeyIsSkippedWhenItIsWeakOrHuge(t *testing.T) {
	iss := startAtNoon(t)
	oddOf := func(bits uint) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return n.SetBit(n, 0, 1)
	}
	n, short := oddOf(2048), oddOf(2047)
	for name, key := range map[string]*rsa.PublicKey{
		"2047 bits":       {N: short, E: 65537},
		"exponent 3":      {N: n, E: 3},
		"exponent 65535":  {N: n, E: 65535},
		"over 4,096 bits": {N: oddOf(4097), E: 65537},
	} {
		t.Run(name, func(t *testing.T) {
			wantUnavailable(t, publishing(t, iss, setOf(exported(key, "RS256", "weak"))).Ready(t.Context()))
		})
	}
	largest := exported(&rsa.PublicKey{N: oddOf(4096), E: 65537}, "RS256", "largest")
	wantAccepted(t, publishing(t, iss, setOf(largest)).Ready(t.Context()))
	strong := exported(&rsa.PublicKey{N: n, E: 65537}, "RS256", "strong")
	wantAccepted(t, publishing(t, iss, setOf(strong)).Ready(t.Context()))
	strong["alg"] = "PS256"
	wantUnavailable(t, publishing(t, iss, setOf(strong)).Ready(t.Context()))
}

func TestAnECKeyIsSkippedWhenItsPointOrCurveIsWrong(t *testing.T) {
	iss := startAtNoon(t)
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wider, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	off := exported(&good.PublicKey, "ES256", "off the curve")
	off["y"] = off["x"]
	short := exported(&good.PublicKey, "ES256", "short")
	short["x"] = base64.RawURLEncoding.EncodeToString(make([]byte, 31))
	for _, key := range []jwk{off, short, exported(&wider.PublicKey, "ES256", "P-384")} {
		t.Run(fmt.Sprint(key["kid"]), func(t *testing.T) {
			wantUnavailable(t, publishing(t, iss, setOf(key)).Ready(t.Context()))
		})
	}
	wantAccepted(t, publishing(t, iss, setOf(exported(&good.PublicKey, "ES256", "good"))).Ready(t.Context()))
}

func TestTwoKeysWithOneKidAreBothDropped(t *testing.T) {
	iss, other := startAtNoon(t), startAtNoon(t)
	twin := signingKey(other, jwk{"kid": iss.KID()})
	synctest.Test(t, func(t *testing.T) {
		checker := publishing(t, iss, setOf(twin, signingKey(iss, nil), signingKey(other, nil)))
		wantRefused(t, check(t, checker, iss.Token(billing)))
		wantAccepted(t, checker.Ready(t.Context()))
	})
}

func TestAKeySpeltTwiceOrInTwoCasesIsSkipped(t *testing.T) {
	iss := startAtNoon(t)
	key, _ := json.Marshal(signingKey(iss, nil))
	for _, more := range []string{`{"kid":"x",`, "{\"a\":\"\xff\",", `{"a":"\ud800",`, `{"a":{"b":1,"b":1},`} {
		checker := publishing(t, iss, `{"keys":[`+strings.Replace(string(key), "{", more, 1)+`,`+setOf(jwk{})+`]}`)
		wantUnavailable(t, checker.Ready(t.Context()))
	}
}

func TestASetIsNoSetWhen(t *testing.T) {
	iss := startAtNoon(t)
	good, _ := json.Marshal(signingKey(iss, nil))
	many := make([]any, 65)
	for i := range many {
		many[i] = signingKey(iss, jwk{"kid": fmt.Sprint(i)})
	}
	for name, body := range map[string]string{
		"it is empty":                     `{"keys":[]}`,
		"it is an empty object":           `{}`,
		"it is nothing":                   ``,
		"it is null":                      `null`,
		"it is a page of HTML":            `<html><body>Welcome</body></html>`,
		"it ends early":                   string(iss.KeySet()[:40]),
		"something follows":               string(iss.KeySet()) + "{}",
		"keys is spelt in another case":   `{"Keys":[` + string(good) + `]}`,
		"keys comes twice":                `{"keys":[],"keys":[` + string(good) + `]}`,
		"keys is an object":               `{"keys":{"a":` + string(good) + `}}`,
		"it has more than 64 keys":        setOf(many...),
		"it is longer than 512 KiB":       string(iss.KeySet()) + strings.Repeat(" ", 512<<10),
		"only keys that are not for us":   setOf(jwk{"kty": "oct", "k": "AAAA"}),
		"it is nested without any bounds": `{"x":` + strings.Repeat("[", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			wantUnavailable(t, publishing(t, iss, body).Ready(t.Context()))
		})
	}
	wantAccepted(t, publishing(t, iss, setOf(many[:64]...)).Ready(t.Context()))
}
