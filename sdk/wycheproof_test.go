package sdk

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The vectors of Project Wycheproof, as the module proxy has them. They are fetched,
// not required by go.mod: the module would bring 107 MB of vectors into the test
// binary, and a later version of Go than users of the sdk need.
const wycheproof = "github.com/c2sp/wycheproof@v0.0.0-20260902155932-3fa63dd0344a"

var wycheproofDir = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", wycheproof)
	cmd.Dir = os.TempDir() // outside of any module
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); jsonErr == nil && module.Error != "" {
		err = errors.New(module.Error)
	}
	return module.Dir, err
})

// vectors is what we read of a file of vectors.
type vectors struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment   string
		PublicKey struct{ Pk, Uncompressed string } // in hex, of Ed25519 and EC
		KeyJwk    map[string]any                    // of RSA
		Public    json.RawMessage                   // of JOSE: a key, or a set of keys
		Private   json.RawMessage                   // of JOSE: the same, if there is no public half
		Tests     []struct {
			TcID     int
			Comment  string
			Msg, Sig string // in hex
			JWS      string
			Result   string
			Flags    []string
		}
	}
}

func readVectors(t *testing.T, name string) vectors {
	t.Helper()
	dir, err := wycheproofDir()
	if err != nil {
		t.Fatalf("go mod download %s: %v", wycheproof, err)
	}
	body, err := os.ReadFile(filepath.Join(dir, "testvectors_v1", name))
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, group := range v.TestGroups {
		found += len(group.Tests)
	}
	if found == 0 || found != v.NumberOfTests {
		t.Fatalf("%s: found %d of %d tests", name, found, v.NumberOfTests)
	}
	return v
}

// tally counts what became of the vectors, so that none goes missing unseen.
type tally map[string]int

func (got tally) want(t *testing.T, want tally) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for what, n := range want {
		if got[what] != n {
			t.Errorf("%d %s, want %d", got[what], what, n)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// published reads a key as if the issuer had published it, nil if it is skipped.
func published(t *testing.T, members map[string]any) *publicKey {
	t.Helper()
	doc, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := readKey(string(doc))
	return key
}

func verdict(accepted bool) string {
	if accepted {
		return "accepted"
	}
	return "refused"
}

func TestEd25519AsWycheproofWantsIt(t *testing.T) {
	got := tally{}
	for _, group := range readVectors(t, "ed25519_test.json").TestGroups {
		x := base64.RawURLEncoding.EncodeToString(unhex(t, group.PublicKey.Pk))
		key := published(t, map[string]any{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "alg": "EdDSA"})
		for _, v := range group.Tests {
			accepted := key.verify(unhex(t, v.Msg), unhex(t, v.Sig))
			if got[verdict(accepted)]++; accepted != (v.Result == "valid") {
				t.Errorf("%d (%s): is %s, but %s", v.TcID, v.Comment, verdict(accepted), v.Result)
			}
		}
	}
	got.want(t, tally{"accepted": 88, "refused": 63})
}

// Of a signature and its twin, of which either both verify or none, we take the
// one with the low s.
func TestES256AsWycheproofWantsItButWithOneSpelling(t *testing.T) {
	got := tally{}
	for _, group := range readVectors(t, "ecdsa_secp256r1_sha256_p1363_test.json").TestGroups {
		point := unhex(t, group.PublicKey.Uncompressed)
		key := published(t, map[string]any{
			"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256",
			"x": base64.RawURLEncoding.EncodeToString(point[1:33]),
			"y": base64.RawURLEncoding.EncodeToString(point[33:]),
		})
		for _, v := range group.Tests {
			msg, sig := unhex(t, v.Msg), unhex(t, v.Sig)
			valid, accepted := v.Result == "valid", key.verify(msg, sig)
			twin, ok := otherSpelling(sig)
			if !ok {
				if got["without a twin"]++; valid || accepted {
					t.Errorf("%d (%s): valid, with that s?", v.TcID, v.Comment)
				}
				continue
			}
			low, high := accepted, key.verify(msg, twin)
			if s, t := sig[32:], twin[32:]; string(s) > string(t) {
				low, high = high, low
				got["high"]++
			}
			if got[verdict(low)]++; low != valid || high {
				t.Errorf("%d (%s): is %s, and %s if high, but %s", v.TcID, v.Comment, verdict(low), verdict(high), v.Result)
			}
		}
	}
	got.want(t, tally{"accepted": 173, "refused": 31, "high": 86, "without a twin": 58})
}

// otherSpelling returns (r, n-s) for (r, s).
func otherSpelling(sig []byte) ([]byte, bool) {
	n := elliptic.P256().Params().N
	if len(sig) != 64 {
		return nil, false
	}
	s := new(big.Int).SetBytes(sig[32:])
	if s.Sign() == 0 || s.Cmp(n) >= 0 {
		return nil, false
	}
	return append(append([]byte{}, sig[:32]...), s.Sub(n, s).FillBytes(make([]byte, 32))...), true
}

// Wycheproof leaves it open whether a digest without its NULL parameter may pass.
// It does not here.
func TestRS256AsWycheproofWantsIt(t *testing.T) {
	for name, want := range map[string]tally{
		"rsa_signature_2048_sha256_test.json": {"accepted": 7, "refused": 250, "weak keys skipped": 2},
		"rsa_signature_3072_sha256_test.json": {"accepted": 7, "refused": 251, "weak keys skipped": 1},
		"rsa_signature_4096_sha256_test.json": {"accepted": 7, "refused": 251},
	} {
		t.Run(name, func(t *testing.T) {
			got := tally{}
			for _, group := range readVectors(t, name).TestGroups {
				key := published(t, group.KeyJwk)
				if key == nil && group.KeyJwk["e"] == "Aw" { // 3
					got["weak keys skipped"]++
					continue
				}
				for _, v := range group.Tests {
					accepted := key.verify(unhex(t, v.Msg), unhex(t, v.Sig))
					if got[verdict(accepted)]++; accepted != (v.Result == "valid") {
						t.Errorf("%d (%s): is %s, but %s %v", v.TcID, v.Comment, verdict(accepted), v.Result, v.Flags)
					}
				}
			}
			got.want(t, want)
		})
	}
}

// verifiesJWS is what becomes of a JWS if our demands on header and claims are
// left out: the form, the choice of the key, its alg, and the signature.
func verifiesJWS(keys map[string]*publicKey, jws string) bool {
	parts := strings.Split(jws, ".")
	if len(parts) != 3 {
		return false
	}
	header, ok1 := decode(nil, []byte(parts[0]))
	_, ok2 := decode(nil, []byte(parts[1]))
	signature, ok3 := decode(nil, []byte(parts[2]))
	var h struct{ Alg, Kid string }
	if json.Unmarshal(header, &h) != nil || !ok1 || !ok2 || !ok3 || keys[h.Kid] == nil {
		return false
	}
	key := keys[h.Kid]
	return key.alg == Algorithm(h.Alg) && key.verify([]byte(parts[0]+"."+parts[1]), signature)
}

func TestJOSEAsWycheproofWantsIt(t *testing.T) {
	for name, want := range map[string]tally{
		"json_web_key_test.json": {
			"accepted": 1, "refused": 20, "of no key for us": 4, "weaker than they look": 1,
		},
		"json_web_signature_test.json": {
			"accepted": 9, "refused": 355, "of no key for us": 36, "high": 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := tally{}
			for _, group := range readVectors(t, name).TestGroups {
				doc := string(group.Public)
				if doc == "" {
					doc = string(group.Private)
				}
				if !strings.Contains(doc, `"keys"`) {
					doc = `{"keys":[` + doc + `]}`
				}
				keys, _ := readKeySet([]byte(doc))
				for _, v := range group.Tests {
					if _, err := accessToken.split(v.JWS); err == nil {
						t.Errorf("%d (%s): taken for an access token", v.TcID, v.Comment)
					}
					accepted := verifiesJWS(keys, v.JWS)
					outcome := verdict(accepted)
					switch valid := v.Result == "valid"; {
					case valid && keys == nil:
						outcome = "of no key for us"
					case valid && isHigh(v.JWS):
						outcome = "high"
					case v.Comment == "rejectsKeyWithRocaVulnerability":
						outcome = "weaker than they look" // the modulus is for the issuer to choose; FIPS has an opinion
					case valid != accepted:
						t.Errorf("%d (%s: %s): is %s, but %s", v.TcID, group.Comment, v.Comment, outcome, v.Result)
					}
					got[outcome]++
				}
			}
			got.want(t, want)
		})
	}
}

func isHigh(jws string) bool {
	signature, ok := decode(nil, []byte(jws[strings.LastIndexByte(jws, '.')+1:]))
	return ok && len(signature) == 64 && string(signature[32:]) > string(halfOrder)
}
