package sdk_test

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// mint makes a token out of the issuer's usual claims, changed.
type mint func(iss *sdktest.Issuer) string

func claim(name string, value any) mint {
	return func(iss *sdktest.Issuer) string {
		claims := iss.Claims(billing, "invoices:read")
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
		return iss.Mint(claims)
	}
}

func head(name string, value any) mint {
	return func(iss *sdktest.Issuer) string {
		return iss.MintWith(sdktest.Header{name: value}, iss.Claims(billing))
	}
}

// spelled replaces text in the JSON of the header or the payload before signing.
func spelled(inHeader bool, old, fresh string) mint {
	return func(iss *sdktest.Issuer) string {
		header := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":"at+jwt"}`, iss.KID())
		payload, _ := json.Marshal(iss.Claims(billing))
		text := string(payload)
		if inHeader {
			header = replaceOnce(header, old, fresh)
		} else {
			text = replaceOnce(text, old, fresh)
		}
		return iss.Sign(header, text)
	}
}

func replaceOnce(s, old, fresh string) string {
	if old == "" {
		return fresh
	}
	if !strings.Contains(s, old) {
		panic("nothing to replace: " + old)
	}
	return strings.Replace(s, old, fresh, 1)
}

// edited changes the text of a good token.
func edited(edit func(string) string) mint {
	return func(iss *sdktest.Issuer) string { return edit(iss.Token(billing)) }
}

func part(n int, edit func(string) string) mint {
	return edited(func(token string) string {
		parts := strings.Split(token, ".")
		parts[n] = edit(parts[n])
		return strings.Join(parts, ".")
	})
}

// unusedBit sets a bit that no decoded byte has, in the last character of a part.
func unusedBit(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(s)%4 == 0 {
		panic("no unused bits")
	}
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + alphabet[last|1:][:1]
}

func nested(levels int) any {
	if levels == 0 {
		return 1
	}
	return []any{nested(levels - 1)}
}

type row struct {
	mint mint
	why  string // "" if it is accepted
}

func checkRows(t *testing.T, iss *sdktest.Issuer, config sdk.CheckerConfig, rows map[string]row) {
	t.Helper()
	config.HTTPClient = newWire(served(iss)).client()
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checker, raw := newChecker(t, config), row.mint(iss)
				for range 2 { // the second time it may be remembered
					_, err := checker.Check(t.Context(), raw)
					wantBecause(t, err, row.why, raw)
				}
			})
		})
	}
}

func wantBecause(t *testing.T, err error, why, raw string) {
	t.Helper()
	if why == "" {
		wantAccepted(t, err)
		return
	}
	wantRefused(t, err)
	if !strings.Contains(err.Error(), why) {
		t.Fatalf("refused for another reason: %v, want %q", err, why)
	}
	if len(raw) > 20 && strings.Contains(err.Error(), raw[len(raw)-20:]) {
		t.Fatal("the error quotes the token")
	}
}

func TestATokenHasOneSpelling(t *testing.T) {
	iss := startAtNoon(t)
	rows := map[string]row{
		"as the issuer writes it, it is accepted":          {edited(func(s string) string { return s }), ""},
		"longer than 16 KiB":                               {claim("metadata", strings.Repeat("x", 16<<10)), "too long"},
		"a header over 1 KiB":                              {head("kid", strings.Repeat("k", 800)), "compact"},
		"nothing at all":                                   {edited(func(string) string { return "" }), "compact"},
		"one dot":                                          {edited(func(s string) string { return s[:strings.LastIndex(s, ".")] }), "compact"},
		"three dots":                                       {edited(func(s string) string { return s + ".AAAA" }), "compact"},
		"an encrypted token, four dots":                    {edited(func(s string) string { return s + ".AAAA.AAAA" }), "compact"},
		"JSON serialisation":                               {edited(func(s string) string { return `{"payload":"` + s + `"}` }), "compact"},
		"padding":                                          {part(2, func(s string) string { return s + "==" }), "compact"},
		"a newline within":                                 {part(1, func(s string) string { return s[:8] + "\n" + s[8:] }), "compact"},
		"a newline after":                                  {edited(func(s string) string { return s + "\n" }), "compact"},
		"a carriage return before":                         {edited(func(s string) string { return "\r" + s }), "compact"},
		"a space after":                                    {edited(func(s string) string { return s + " " }), "compact"},
		"the other base64 alphabet":                        {part(2, func(s string) string { return "+/" + s[2:] }), "compact"},
		"an empty payload":                                 {part(1, func(string) string { return "" }), "compact"},
		"an empty signature":                               {part(2, func(string) string { return "" }), "compact"},
		"an unused bit set in the signature":               {part(2, unusedBit), "compact"},
		"an unused bit set in the header":                  {unusedIn(0), "compact"},
		"an unused bit set in the payload":                 {unusedIn(1), "compact"},
		"a base64 part of impossible length":               {part(2, func(s string) string { return s[:85] }), "compact"},
		"a signature of 63 bytes":                          {part(2, func(s string) string { return resize(s, 63) }), "signature"},
		"a signature of 65 bytes":                          {part(2, func(s string) string { return resize(s, 65) }), "signature"},
		"a signature by another key under a published kid": {func(iss *sdktest.Issuer) string { return iss.Forged(billing) }, "signature"},
		"a payload changed after signing":                  {part(1, func(s string) string { return changed(s) }), "signature"},
	}
	checkRows(t, iss, iss.CheckerConfig(billing), rows)
}

// unusedIn makes part n of a length that leaves unused bits, by white space in
// its JSON, signs that, and then sets one.
func unusedIn(n int) mint {
	return func(iss *sdktest.Issuer) string {
		header := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":"at+jwt"}`, iss.KID())
		payload, _ := json.Marshal(iss.Claims(billing))
		texts := []string{header, string(payload)}
		for len(texts[n])%3 == 0 {
			texts[n] += " "
		}
		parts := strings.Split(iss.Sign(texts[0], texts[1]), ".")
		parts[n] = unusedBit(parts[n])
		return strings.Join(parts, ".")
	}
}

func resize(s string, size int) string {
	raw, _ := base64.RawURLEncoding.DecodeString(s)
	return base64.RawURLEncoding.EncodeToString(append(raw, 0)[:size])
}

func changed(s string) string {
	raw, _ := base64.RawURLEncoding.DecodeString(s)
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), "user_1", "user_2", 1)))
}

func TestAHeaderIsAlgKidAndTypAlone(t *testing.T) {
	iss := startAtNoon(t)
	rows := map[string]row{
		"typ in capitals is accepted":                    {head("typ", "AT+JWT"), ""},
		"typ as a whole media type is accepted":          {head("typ", "application/at+jwt"), ""},
		"Ed25519 as the other name of EdDSA is accepted": {head("alg", "Ed25519"), ""},
		"white space and another order are accepted":     {spelled(true, `"typ":"at+jwt"}`, "\"typ\" : \"at+jwt\"\n}"), ""},
		"typ missing":                         {head("typ", nil), "typ"},
		"typ of any JWT":                      {head("typ", "JWT"), "typ"},
		"typ of a status list":                {head("typ", "statuslist+jwt"), "typ"},
		"kid missing":                         {head("kid", nil), "kid"},
		"kid empty":                           {head("kid", ""), "kid"},
		"kid over 128 bytes":                  {head("kid", strings.Repeat("k", 129)), "kid"},
		"kid not a string":                    {head("kid", 7), "header"},
		"kid of nobody":                       {head("kid", "nobody"), "unknown key"},
		"alg missing":                         {head("alg", nil), "alg"},
		"alg none":                            {head("alg", "none"), "alg"},
		"alg HS256":                           {head("alg", "HS256"), "alg"},
		"alg PS256":                           {head("alg", "PS256"), "alg"},
		"alg of another case":                 {head("alg", "eddsa"), "alg"},
		"alg other than that of the very key": {head("alg", "ES256"), "alg"},
		"a member twice":                      {spelled(true, `{`, `{"alg":"EdDSA",`), "header"},
		"a member twice, once escaped":        {spelled(true, `{`, `{"\u0061lg":"EdDSA",`), "header"},
		"a member in another case":            {spelled(true, `{`, `{"ALG":"none",`), "header"},
		"invalid UTF-8":                       {spelled(true, `at+jwt`, "at+jwt\xff"), "header"},
		"a byte order mark":                   {spelled(true, `{`, "\ufeff{"), "header"},
		"something after the object":          {spelled(true, `"at+jwt"}`, `"at+jwt"}{}`), "header"},
		"null":                                {spelled(true, "", "null"), "header"},
		"an array":                            {spelled(true, "", "[]"), "header"},
		"a string where an object belongs, and no payload": {spelled(true, "", `"at+jwt"`), "header"},
	}
	for _, name := range []string{"crit", "b64", "zip", "jwk", "jku", "x5u", "x5c", "x5t", "cty", "enc", "nonce"} {
		rows["a member "+name] = row{head(name, []string{"x"}), "header"}
	}
	checkRows(t, iss, iss.CheckerConfig(billing), rows)

	config := iss.CheckerConfig(billing)
	config.Algorithms = []sdk.Algorithm{sdk.ES256, sdk.RS256}
	checkRows(t, iss, config, map[string]row{
		"alg not on the caller's list": {edited(func(s string) string { return s }), "alg"},
	})
}

func TestClaimsAreComplete(t *testing.T) {
	iss := startAtNoon(t)
	now := noon.Unix()
	rows := map[string]row{
		"an audience among others is accepted":            {claim("aud", []string{"other", billing}), ""},
		"claims we do not know are accepted":              {claim("tenant", map[string]any{"a": 1.5}), ""},
		"a token without permissions is accepted":         {claim("permissions", nil), ""},
		"nesting of 32 levels is accepted":                {claim("metadata", nested(31)), ""},
		"nesting of 33 levels":                            {claim("metadata", nested(32)), "claims"},
		"a payload of null":                               {spelled(false, "", "null"), "claims"},
		"a payload that is an array":                      {spelled(false, "", "[{}]"), "claims"},
		"a payload that is no JSON":                       {spelled(false, "", "{"), "claims"},
		"something after the object":                      {spelled(false, `"user_1"}`, `"user_1"} x`), "claims"},
		"a claim twice":                                   {spelled(false, `{`, `{"sub":"root",`), "claims"},
		"a claim twice, once escaped":                     {spelled(false, `{`, `{"\u0073ub":"root",`), "claims"},
		"a member twice far within":                       {spelled(false, `{`, `{"x":[{"a":{"b":1,"b":2}}],`), "claims"},
		"a claim of ours in another case":                 {spelled(false, `{`, `{"EXP":99999999999,`), "claims"},
		"a claim of ours under a look-alike letter":       {spelled(false, `{`, `{"\u017fub":"root",`), "claims"},
		"invalid UTF-8":                                   {spelled(false, `user_1`, "user_\xff"), "claims"},
		"half a surrogate pair":                           {spelled(false, `user_1`, `user_\ud800`), "claims"},
		"exp missing":                                     {claim("exp", nil), "claims"},
		"exp null":                                        {spelled(false, fmt.Sprint(now+300), "null"), "claims"},
		"exp a string":                                    {claim("exp", fmt.Sprint(now+300)), "claims"},
		"exp a fraction":                                  {spelled(false, fmt.Sprint(now+300), fmt.Sprint(now+300)+".0"), "claims"},
		"exp with an exponent":                            {spelled(false, fmt.Sprint(now+300), "2e9"), "claims"},
		"exp beyond int64":                                {spelled(false, fmt.Sprint(now+300), "9223372036854775808"), "claims"},
		"exp in milliseconds":                             {claim("exp", (now+300)*1000), "lives longer"},
		"exp at the end of int64":                         {spelled(false, fmt.Sprint(now+300), "9223372036854775807"), "lives longer"},
		"exp at the start of int64":                       {spelled(false, fmt.Sprint(now+300), "-9223372036854775808"), "expired"},
		"exp 15 minutes and the leeway away is accepted":  {claim("exp", now+930), ""},
		"exp further away than tokens live":               {claim("exp", now+931), "lives longer"},
		"iat to exp longer than tokens live":              {times(now-700, now+231), "lives longer"},
		"exp before iat":                                  {times(now, now-1), "lives longer"},
		"iat missing":                                     {claim("iat", nil), "claims"},
		"iat negative":                                    {claim("iat", -1), "claims"},
		"iat in the future within the leeway is accepted": {claim("iat", now+30), ""},
		"iat in the future":                               {claim("iat", now+31), "not valid yet"},
		"nbf in the future within the leeway is accepted": {claim("nbf", now+30), ""},
		"nbf in the future":                               {claim("nbf", now+31), "not valid yet"},
		"nbf not a number":                                {claim("nbf", "now"), "claims"},
		"iss missing":                                     {claim("iss", nil), "issuer"},
		"iss of somebody else":                            {claim("iss", "https://evil.example.com"), "issuer"},
		"iss with a slash more":                           {claim("iss", iss.URL()+"/"), "issuer"},
		"aud missing":                                     {claim("aud", nil), "claims"},
		"aud of somebody else":                            {claim("aud", "other"), "audience"},
		"aud with ours as a part":                         {claim("aud", billing+"/"), "audience"},
		"aud an array without ours":                       {claim("aud", []string{"a", "b"}), "audience"},
		"aud an empty array":                              {claim("aud", []string{}), "audience"},
		"aud an array with a number":                      {claim("aud", []any{billing, 1}), "claims"},
		"aud a number":                                    {claim("aud", 1), "claims"},
		"permissions an array":                            {claim("permissions", []string{"a:b"}), "claims"},
		"permissions null":                                {spelled(false, `"permissions":{}`, `"permissions":null`), "claims"},
		"permissions a map of strings":                    {claim("permissions", map[string]string{"a": "b"}), "claims"},
		"permissions a map of arrays of numbers":          {claim("permissions", map[string]any{"a": []int{1}}), "claims"},
		"scope not a string":                              {claim("scope", []string{"a:b"}), "claims"},
		"key_id not a string":                             {claim("key_id", 1), "claims"},
		"keyspace not a string":                           {claim("keyspace", true), "claims"},
	}
	for _, name := range []string{"sub", "jti", "client_id"} {
		rows[name+" missing"] = row{claim(name, nil), "claims"}
		rows[name+" empty"] = row{claim(name, ""), "claims"}
		rows[name+" not a string"] = row{claim(name, 1), "claims"}
	}
	checkRows(t, iss, iss.CheckerConfig(billing), rows)
}

func times(iat, exp int64) mint {
	return func(iss *sdktest.Issuer) string {
		claims := iss.Claims(billing)
		maps.Copy(claims, sdktest.Claims{"iat": iat, "exp": exp})
		return iss.Mint(claims)
	}
}

func TestATokenIsAcceptedUntilItsEndAndTheLeeway(t *testing.T) {
	for _, leeway := range []time.Duration{0, time.Second, -1} {
		iss := startAtNoon(t)
		config := iss.CheckerConfig(billing)
		config.Leeway = leeway
		forgiven := map[time.Duration]time.Duration{0: 30 * time.Second, time.Second: time.Second, -1: 0}[leeway]
		seen, raw := newChecker(t, config), iss.Token(billing)
		_, err := seen.Check(t.Context(), raw)
		wantAccepted(t, err)

		end := noon.Add(5*time.Minute + forgiven)
		iss.SetTime(end.Add(-1))
		_, err = seen.Check(t.Context(), raw)
		wantAccepted(t, err)
		_, err = newChecker(t, config).Check(t.Context(), raw)
		wantAccepted(t, err)

		iss.SetTime(end)
		_, err = seen.Check(t.Context(), raw)
		wantRefused(t, err)
		_, err = newChecker(t, config).Check(t.Context(), raw)
		wantRefused(t, err)
	}
}

func TestARememberedTokenIsRefusedWhenTheClockStepsBackBeforeIt(t *testing.T) {
	iss := startAtNoon(t)
	checker, raw := newChecker(t, iss.CheckerConfig(billing)), iss.Token(billing)
	_, err := checker.Check(t.Context(), raw)
	wantAccepted(t, err)
	iss.Advance(-time.Minute)
	_, err = checker.Check(t.Context(), raw)
	wantRefused(t, err)
}

func TestEveryAlgorithmVerifiesAndRefusesWhatIsForged(t *testing.T) {
	for _, alg := range []sdk.Algorithm{sdk.EdDSA, sdk.ES256, sdk.RS256} {
		iss := startAtNoon(t)
		iss.Rotate(alg)
		checkRows(t, iss, iss.CheckerConfig(billing), map[string]row{
			string(alg) + " is accepted":             {edited(func(s string) string { return s }), ""},
			string(alg) + " by another key":          {func(iss *sdktest.Issuer) string { return iss.Forged(billing) }, "signature"},
			string(alg) + " with a changed payload":  {part(1, changed), "signature"},
			string(alg) + " with a signature of 0s":  {part(2, func(s string) string { return strings.Repeat("A", len(s)) }), "signature"},
			string(alg) + " with a short signature":  {part(2, func(s string) string { return resize(s, 63) }), "signature"},
			string(alg) + " under the name of EdDSA": {head("alg", map[bool]string{true: "RS256", false: "EdDSA"}[alg == sdk.EdDSA]), "alg"},
		})
	}
}

func TestAnES256SignatureWithAHighSIsRefused(t *testing.T) {
	iss := startAtNoon(t)
	iss.Rotate(sdk.ES256)
	high := part(2, func(s string) string {
		raw, _ := base64.RawURLEncoding.DecodeString(s)
		order := elliptic.P256().Params().N
		new(big.Int).Sub(order, new(big.Int).SetBytes(raw[32:])).FillBytes(raw[32:])
		return base64.RawURLEncoding.EncodeToString(raw)
	})
	checkRows(t, iss, iss.CheckerConfig(billing), map[string]row{"high s": {high, "signature"}})
}

func TestATokenThatCannotBeOursNeverReachesTheNetwork(t *testing.T) {
	iss := startAtNoon(t)
	checker := newChecker(t, iss.CheckerConfig(billing))
	for _, mint := range []mint{
		func(iss *sdktest.Issuer) string { return iss.Expired(billing) },
		claim("iss", "https://evil.example.com"), claim("aud", "other"), head("typ", "JWT"),
		head("alg", "none"), claim("exp", nil), edited(func(s string) string { return s + "=" }),
	} {
		_, err := checker.Check(t.Context(), mint(iss))
		wantRefused(t, err)
	}
	if n := iss.Fetches(); n != 0 {
		t.Fatalf("%d fetches", n)
	}
}
