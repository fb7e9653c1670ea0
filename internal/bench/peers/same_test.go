package peers

import (
	"testing"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// start starts an issuer that publishes one key, for alg, by the real time.
func start(tb testing.TB, alg string) *sdktest.Issuer {
	tb.Helper()
	iss := sdktest.Start()
	tb.Cleanup(iss.Close)
	iss.Rotate(sdk.Algorithm(alg))
	iss.Withdraw()
	return iss
}

// What is compared must be the same: who refuses a good token is not set up right,
// and who accepts a bad one saves work that the others do.
func TestAllContendersDoTheSameJob(t *testing.T) {
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			iss := start(t, alg)
			good := good(iss)
			refused := map[string]string{
				"a forged token":              iss.Forged(billing, "projects:read"),
				"an expired token":            iss.Expired(billing, "projects:read"),
				"a token for another backend": iss.Token("https://other.example.com", "projects:read"),
			}
			for _, c := range contenders(t, iss, alg, 1) {
				if got, err := c.check(t.Context(), good); err != nil || got != scope {
					t.Errorf("%s: a good token yields %q, %v", c.name, got, err)
				}
				for name, raw := range refused {
					if _, err := c.check(t.Context(), raw); err == nil {
						t.Errorf("%s accepts %s", c.name, name)
					}
				}
			}
		})
	}
}

func good(iss *sdktest.Issuer) string {
	return iss.Token(billing, "projects:read", "projects:write", "invoices:read")
}
