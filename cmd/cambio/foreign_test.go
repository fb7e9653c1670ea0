package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// A foreign library is not ours. It checks our tokens with a program of the
// README, which defines check and calls it with $TOKEN.
type foreign struct {
	block string                            // the program's name in the README
	find  func(*testing.T) func() *exec.Cmd // what runs its input; skips the test if there is no such thing
	words func(verdict) string              // its own among those of all libraries

	// more calls check with all $TOKENS, in the one process, and prints what came
	// of each.
	more string
}

var jose = foreign{
	block: "jose",
	find:  findJose,
	words: func(v verdict) string { return v.jose },
	more: `
const verdicts = {}
for (const [name, token] of Object.entries(JSON.parse(process.env.TOKENS)))
  verdicts[name] = await check(token).then(() => 'accepted', String)
console.log(JSON.stringify(verdicts))
`,
}

var pyjwt = foreign{
	block: "pyjwt",
	find:  findPyJWT,
	words: func(v verdict) string { return v.pyjwt },
	more: `
import json
verdicts = {}
for name, token in json.loads(os.environ["TOKENS"]).items():
    try:
        check(token)
        verdicts[name] = "accepted"
    except Exception as e:
        verdicts[name] = repr(e)
print(json.dumps(verdicts))
`,
}

// A verdict on a token has these words in it.
type verdict struct{ token, jose, pyjwt string }

func TestForeignLibrariesCheckTokensAsTheReadmeShows(t *testing.T) {
	n := startNewcomer(t)
	token := n.exchange(t).AccessToken

	for _, library := range []foreign{jose, pyjwt} {
		t.Run(library.block, func(t *testing.T) {
			t.Parallel()
			command := library.find(t)
			program := readmeBlock(t, n.readme, library.block)

			said, why := says(command(), n.here(program), "TOKEN="+token)
			if want := "user_42 may read\n"; said != want {
				t.Errorf("of a token of the server it says %q, want %q: %s", said, want, why)
			}

			iss := sdktest.Start()
			defer iss.Close()
			program = strings.ReplaceAll(program, "http://"+readmeAddress, iss.URL())
			said, why = says(command(), program, "TOKEN="+iss.Expired(readmeAudience, "projects:read"))
			if said != "" || why == "" {
				t.Errorf("of an expired token it says %q, and ends well", said)
			}

			verdicts := verdictsOf(iss)
			said, why = says(command(), program+library.more,
				"TOKEN="+iss.Token(readmeAudience, "projects:write", "invoices:read"), "TOKENS="+tokensOf(t, verdicts))
			said, rest, _ := strings.Cut(said, "\n")
			if want := "user_1 may not read"; said != want {
				t.Errorf("of a token without the permission it says %q, want %q: %s", said, want, why)
			}
			got := map[string]string{}
			if err := json.Unmarshal([]byte(rest), &got); err != nil {
				t.Fatalf("%v: %s", err, rest)
			}
			for name, want := range verdicts {
				if words := library.words(want); !strings.Contains(got[name], words) {
					t.Errorf("%s: it says %q, want %q", name, got[name], words)
				}
			}
			if asked := iss.Fetches(); asked > 3 {
				t.Errorf("the key set was asked for %d times: once by each process, once more for an unknown kid make 3", asked)
			}
		})
	}
}

// readmeAudience is the backend of the README.
const readmeAudience = "https://orders.example.com"

// verdictsOf makes tokens that are good, or are but for one thing.
func verdictsOf(iss *sdktest.Issuer) map[string]verdict {
	claim := func(name string, value any) string {
		claims := iss.Claims(readmeAudience)
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
		return iss.Mint(claims)
	}
	header := func(name string, value any) string {
		return iss.MintWith(sdktest.Header{name: value}, iss.Claims(readmeAudience))
	}
	verdicts := map[string]verdict{
		"good":                             {iss.Token(readmeAudience), "accepted", "accepted"},
		"typ as RFC 9068 §4 also has it":   {header("typ", "application/AT+JWT"), "accepted", "accepted"},
		"good in 25 s, by another clock":   {claim("nbf", iss.Now().Unix()+25), "accepted", "accepted"},
		"expired":                          {iss.Expired(readmeAudience), "JWTExpired", "ExpiredSignatureError"},
		"without an end":                   {claim("exp", nil), `missing required "exp"`, "MissingRequiredClaimError"},
		"for another backend":              {iss.Token("https://billing.example.com"), `unexpected "aud"`, "InvalidAudienceError"},
		"for nobody":                       {claim("aud", nil), `missing required "aud"`, "MissingRequiredClaimError"},
		"of an issuer with another byte":   {claim("iss", iss.URL()+"/"), `unexpected "iss"`, "InvalidIssuerError"},
		"without permissions":              {claim("permissions", nil), `missing required "permissions"`, "MissingRequiredClaimError"},
		"forged":                           {iss.Forged(readmeAudience), "JWSSignatureVerificationFailed", "InvalidSignatureError"},
		"signed with a key out of nowhere": {header("kid", "none"), "JWKSNoMatchingKey", "PyJWKClientError"},
		"a status list":                    {header("typ", "statuslist+jwt"), `unexpected "typ"`, "not at+jwt"},
		"a JWT of any kind":                {header("typ", "JWT"), `unexpected "typ"`, "not at+jwt"},
		"a JWT that says no kind":          {header("typ", nil), `unexpected "typ"`, "not at+jwt"},
	}
	iss.Rotate(sdk.ES256)
	verdicts["signed with another algorithm"] = verdict{iss.Token(readmeAudience), "JOSEAlgNotAllowed", "InvalidAlgorithmError"}
	iss.Rotate(sdk.EdDSA) // all three keys are in the set
	return verdicts
}

// tokensOf is JSON: the tokens by name.
func tokensOf(t *testing.T, verdicts map[string]verdict) string {
	tokens := map[string]string{}
	for name, v := range verdicts {
		tokens[name] = v.token
	}
	text, err := json.Marshal(tokens)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// says runs program, and returns what it printed, and why if it did not end well.
func says(cmd *exec.Cmd, program string, env ...string) (said, why string) {
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(program), &stderr
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		why = err.Error() + "\n" + stderr.String()
	}
	return string(out), why
}
