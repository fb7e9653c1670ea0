package load

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/sdk"
)

// Check is what it takes to check a token, beside its bare signature. Times are
// medians, in microseconds, of one goroutine.
type Check struct {
	Algorithm string
	Sign      float64 // the bare signature
	Verify    float64 // the same, verified
	First     float64 // a whole check of a token that the Checker has not seen
	Seen      float64 // of one that it has
}

// algorithms are those that tokens can be signed with.
var algorithms = []sdk.Algorithm{sdk.EdDSA, sdk.ES256, sdk.RS256}

// Checks measures checks for about d in all, with the tokens, the key set and the
// status list of a server in this process.
func Checks(ctx context.Context, d time.Duration) (_ []Check, err error) {
	ctx, cancel := context.WithCancel(ctx)
	public, err := listen(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	iss := "http://" + public.Addr().String()
	var algs []string
	for _, alg := range algorithms {
		algs = append(algs, string(alg))
	}
	cfg := ServerConfig{Master: issuer.NewMasterKey().Reveal()}
	a, err := assemble(ctx, cfg, newMemory(Fixture{}), iss, algs...)
	if err != nil {
		cancel()
		return nil, errors.Join(err, public.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx, public) }()
	defer func() { cancel(); err = errors.Join(err, <-ended) }()

	var found []Check
	for _, alg := range algorithms {
		one, err := a.check(ctx, iss, alg, d/time.Duration(len(algorithms)))
		if err != nil {
			return nil, fmt.Errorf("checking tokens of %s: %w", alg, err)
		}
		found = append(found, one)
	}
	return found, nil
}

// tokens is how many are checked in turns.
const tokens = 64

func (a assembly) check(ctx context.Context, iss string, alg sdk.Algorithm, d time.Duration) (Check, error) {
	all, err := a.tokens(alg)
	if err != nil {
		return Check{}, err
	}
	forgetful, err := checkerOf(iss, 1) // remembers one, which is never the next
	if err != nil {
		return Check{}, err
	}
	remembering, err := checkerOf(iss, 4*tokens*tokens) // of which none is crowded out
	if err != nil {
		return Check{}, err
	}
	raw, err := newSignature(alg, all[0][:strings.LastIndexByte(all[0], '.')])
	if err != nil {
		return Check{}, err
	}
	checkAll := func(c *sdk.Checker, some []string) error {
		for _, token := range some {
			if _, err := c.Check(ctx, token); err != nil {
				return err
			}
		}
		return nil
	}
	if err := checkAll(remembering, all); err != nil {
		return Check{}, err
	}
	next := 0
	took, err := inTurns(ctx, d,
		raw.sign,
		raw.verify,
		func() error { next = (next + 1) % tokens; return checkAll(forgetful, all[next:next+1]) },
		func() error { return checkAll(remembering, all) },
	)
	if err != nil {
		return Check{}, err
	}
	return Check{string(alg), took[0], took[1], took[2], took[3] / tokens}, nil
}

func checkerOf(iss string, seen int) (*sdk.Checker, error) {
	return sdk.NewChecker(sdk.CheckerConfig{Issuer: iss, Audience: audience, SeenCache: seen})
}

func (a assembly) tokens(alg sdk.Algorithm) ([]string, error) {
	all := make([]string, tokens)
	for i := range all {
		now := time.Now()
		token, err := a.issuer.Issue(issuer.Grant{
			Subject: fmt.Sprint("user_", i), Audience: audience, ClientID: clientID,
			KeyID: fmt.Sprintf("key_%032x", i), Keyspace: keyspace,
			Permissions: map[string][]string{"projects": {"read", "write"}, "invoices": {"read"}},
			IssuedAt:    now, Algorithm: string(alg),
			Status: issuer.StatusRef{List: 1, Index: int64(i)},
		})
		if err != nil {
			return nil, err
		}
		all[i] = token.Value
	}
	return all, nil
}

// inTurns runs each of what in turns for d, at least once, and returns the median
// of each, in microseconds.
func inTurns(ctx context.Context, d time.Duration, what ...func() error) ([]float64, error) {
	took := make([][]time.Duration, len(what))
	for began := time.Now(); len(took[0]) == 0 || time.Since(began) < d; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i, do := range what {
			before := time.Now()
			if err := do(); err != nil {
				return nil, err
			}
			took[i] = append(took[i], time.Since(before))
		}
	}
	medians := make([]float64, len(what))
	for i, all := range took {
		slices.Sort(all)
		medians[i] = float64(all[len(all)/2]) / float64(time.Microsecond)
	}
	return medians, nil
}

// signature makes and verifies signatures by the standard library alone.
type signature struct{ sign, verify func() error }

var errSignature = errors.New("a signature that was just made does not verify")

// newSignature signs and verifies text.
func newSignature(alg sdk.Algorithm, text string) (signature, error) {
	signed := []byte(text)
	var key crypto.Signer
	var opts crypto.SignerOpts = crypto.SHA256
	var verify func(sig []byte) bool
	digest := func() []byte { sum := sha256.Sum256(signed); return sum[:] }
	message := digest
	switch alg {
	case sdk.EdDSA:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return signature{}, err
		}
		key, opts, message = private, crypto.Hash(0), func() []byte { return signed }
		verify = func(sig []byte) bool { return ed25519.Verify(public, signed, sig) }
	case sdk.ES256:
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return signature{}, err
		}
		key, verify = private, func(sig []byte) bool { return ecdsa.VerifyASN1(&private.PublicKey, digest(), sig) }
	default:
		private, err := rsa.GenerateKey(rand.Reader, 2048) // as the issuer's
		if err != nil {
			return signature{}, err
		}
		key, verify = private, func(sig []byte) bool {
			return rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, digest(), sig) == nil
		}
	}
	var last []byte
	return signature{
		sign: func() (err error) { last, err = key.Sign(rand.Reader, message(), opts); return err },
		verify: func() error {
			if !verify(last) {
				return errSignature
			}
			return nil
		},
	}, nil
}
