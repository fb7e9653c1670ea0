package peers

import (
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// hostile is a token that we refuse. By is the rule that it breaks; where that is
// "ours", no RFC forbids to accept it, but one token would have many spellings, two
// readers would see different claims in it, or our issuer never signs the like.
type hostile struct {
	name string
	by   string
	mint mint
}

const byUs = "ours"

var spellings = []hostile{
	{"a newline within the payload", "RFC 7515 §2", part(1, func(s string) string { return s[:8] + "\n" + s[8:] })},
	{"a newline within the signature", "RFC 7515 §2", part(2, func(s string) string { return s[:8] + "\r\n" + s[8:] })},
	{"a newline after the token", "RFC 7515 §2", text(func(s string) string { return s + "\n" })},
	{"a space before the token", "RFC 7515 §2", text(func(s string) string { return " " + s })},
	{"padding", "RFC 7515 §2", part(2, func(s string) string { return s + "==" })},
	{"an unused bit set in the header", byUs, unusedBit(0)},
	{"an unused bit set in the payload", byUs, unusedBit(1)},
	{"an unused bit set in the signature", byUs, unusedBit(2)},
	{"JSON serialization", "RFC 7519 §1", text(jsonSerialization)},
	{"four parts", "RFC 7515 §7.1", text(func(s string) string { return s + ".AAAA" })},
	{"no signature", "RFC 7515 §7.1", text(func(s string) string { return s[:strings.LastIndexByte(s, '.')] })},
	{"an empty signature", "RFC 7515 §5.2", part(2, func(string) string { return "" })},
	{"a signature of 63 bytes", "RFC 8032 §5.1.7", signature(func(b []byte) []byte { return b[:63] })},
	{"a signature of 65 bytes", "RFC 8032 §5.1.7", signature(func(b []byte) []byte { return append(b, 0) })},
	{"longer than 16 KiB", byUs, claim("metadata", strings.Repeat("x", 16<<10))},
}

var headers = []hostile{
	{"alg none", "RFC 8725 §3.1", unsigned},
	{"alg none, signed", "RFC 8725 §3.1", member("alg", "none")},
	{"alg HS256 with the public key", "RFC 8725 §3.1", withPublicKeyAsSecret},
	{"alg other than that of the key", "RFC 8725 §3.1", member("alg", "ES256")},
	{"alg in another case", "RFC 7515 §4.1.1", member("alg", "eddsa")},
	{"alg missing", "RFC 7515 §4.1.1", member("alg", nil)},
	{"a stranger's key in jwk", "RFC 8725 §3.10", bringingItsKey},
	{"a stranger's keys in jku", "RFC 8725 §3.10", pointingAtItsKey},
	{"crit naming what nobody knows", "RFC 7515 §4.1.11", header(`{`, `{"crit":["x"],"x":1,`)},
	{"crit naming what is not there", "RFC 7515 §4.1.11", header(`{`, `{"crit":["x"],`)},
	{"crit empty", "RFC 7515 §4.1.11", header(`{`, `{"crit":[],`)},
	{"b64 false without crit", "RFC 7797 §6", header(`{`, `{"b64":false,`)},
	{"b64 false in crit", "RFC 7797 §7", header(`{`, `{"b64":false,"crit":["b64"],`)},
	{"typ missing", "RFC 9068 §4", member("typ", nil)},
	{"typ of any JWT", "RFC 9068 §4", member("typ", "JWT")},
	{"typ of a status list", "RFC 9068 §4", member("typ", "statuslist+jwt")},
	{"kid missing", byUs, member("kid", nil)},
	{"kid empty", byUs, member("kid", "")},
	{"kid of nobody", byUs, member("kid", "nobody")},
	{"kid a number", "RFC 7515 §4.1.4", member("kid", 7)},
	{"a member twice", byUs, header(`{`, `{"alg":"none",`)},
	{"a member twice, the last one foreign", "RFC 7515 §4", header(`}`, `,"alg":"none"}`)},
	{"a member in another case", byUs, header(`{`, `{"ALG":"none",`)},
	{"a member in another case only", "RFC 7515 §4.1.1", header(`"alg"`, `"ALG"`)},
	{"a header with invalid UTF-8", "RFC 7515 §5.2", header(`at+jwt"`, "at+jwt\",\"x\":\"\xff\"")},
	{"a header with something after it", "RFC 7515 §5.2", header(`}`, `}{}`)},
	{"a header of null", "RFC 7515 §5.2", header(``, `null`)},
}

var claims = []hostile{
	{"a payload of null", "RFC 7519 §7.2", payload(``, `null`)},
	{"a payload of null, forged", "RFC 7519 §7.2", func(t *testing.T, iss *sdktest.Issuer) string {
		raw := payload(``, `null`)(t, iss)
		return raw[:strings.LastIndexByte(raw, '.')+1] + strings.Repeat("A", 86)
	}},
	{"a payload of []", "RFC 7519 §7.2", payload(``, `[]`)},
	{"a payload with something after it", "RFC 7519 §7.2", payload(`"user_1"}`, `"user_1"} x`)},
	{"a payload with invalid UTF-8", "RFC 7519 §7.2", payload(`user_1`, "user_\xff")},
	{"half a surrogate pair", byUs, payload(`user_1`, `user_\ud800`)},
	{"a claim twice", byUs, payload(`{`, `{"sub":"root",`)},
	{"a claim twice, once escaped", byUs, payload(`"user_1"}`, `"user_1","\u0073ub":"root"}`)},
	{"a claim twice far within", byUs, payload(`{`, `{"x":[{"a":{"b":1,"b":2}}],`)},
	{"exp only in another case", "RFC 7519 §10.1.1", payload(`"exp"`, `"EXP"`)},
	{"expired, with EXP in the future", "RFC 7519 §4.1.4", exp(`1000000000,"EXP":${1}`)},
	{"sub, and a look-alike with a long s", byUs, payload(`"user_1"}`, `"user_1","\u017fub":"root"}`)},
	{"nested 5,000 deep", byUs, claim("metadata", nested(5000))},
	{"exp missing", "RFC 9068 §2.2", claim("exp", nil)},
	{"exp null", "RFC 7519 §4.1.4", exp(`null`)},
	{"exp a string", "RFC 7519 §4.1.4", exp(`"${1}"`)},
	{"exp a date", "RFC 7519 §4.1.4", exp(`"2099-01-01T00:00:00Z"`)},
	{"exp a fraction", byUs, exp(`${1}.5`)},
	{"exp with an exponent", byUs, exp(`2e9`)},
	{"exp in milliseconds", byUs, exp(`${1}000`)},
	{"exp beyond int64", byUs, exp(`9223372036854775808`)},
	{"exp an hour away, longer than we sign", byUs, in("exp", 3600)},
	{"nbf a minute ahead", "RFC 7519 §4.1.5", in("nbf", 60)},
	{"nbf a string", "RFC 7519 §4.1.5", claim("nbf", "1")},
	{"iat a minute ahead", byUs, in("iat", 60)},
	{"iat missing", "RFC 9068 §2.2", claim("iat", nil)},
	{"iss missing", "RFC 9068 §4", claim("iss", nil)},
	{"iss with a slash more", "RFC 9068 §4", func(t *testing.T, iss *sdktest.Issuer) string { return claim("iss", iss.URL()+"/")(t, iss) }},
	{"aud missing", "RFC 9068 §4", claim("aud", nil)},
	{"aud with ours as a part", "RFC 9068 §4", claim("aud", billing+"/x")},
	{"aud an empty array", "RFC 9068 §4", claim("aud", []string{})},
	{"aud with a number beside ours", "RFC 7519 §4.1.3", claim("aud", []any{billing, 1})},
	{"sub missing", "RFC 9068 §2.2", claim("sub", nil)},
	{"sub a number", "RFC 7519 §4.1.2", claim("sub", 1)},
	{"jti missing", "RFC 9068 §2.2", claim("jti", nil)},
	{"client_id missing", "RFC 9068 §2.2", claim("client_id", nil)},
	{"scope an array", "RFC 9068 §2.2.3", claim("scope", []string{"projects:read"})},
	{"permissions an array", byUs, claim("permissions", []string{"projects:read"})},
}

var ofES256 = []hostile{
	{"ES256 with a high s", byUs, highS},
	{"ES256 in DER", "RFC 7518 §3.4", signature(der)},
	{"ES256 of zeros", "FIPS 186-5", signature(func([]byte) []byte { return make([]byte, 64) })},
	{"ES256 with a byte more", "RFC 7518 §3.4", signature(func(b []byte) []byte { return append(b, 0) })},
}
