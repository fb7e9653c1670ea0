package sdk_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

func TestAListSignedByAWithdrawnKeyIsAskedForAnew(t *testing.T) {
	withStatus(t, func(c *sdk.CheckerConfig) { c.MaxStatusAge = time.Hour }, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		wantAccepted(t, check(t, checker, iss.Token(billing)))
		iss.Rotate(sdk.ES256)
		iss.Withdraw()
		fresh := iss.Token(billing)
		time.Sleep(time.Second)
		l.serve(cut)
		wantUnavailable(t, check(t, checker, fresh))
		l.serve(served(iss))
		time.Sleep(time.Second)
		wantAccepted(t, check(t, checker, fresh))
		if got := l.seen[len(l.seen)-1].Get("If-None-Match"); got != "" {
			t.Fatal("asked whether the old one still holds")
		}
	})
}

func TestAListSignedByAKeyThatIsNewHasTheKeySetFetched(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, _ *lists, checker *sdk.Checker) {
		raw := iss.Token(billing)
		wantAccepted(t, check(t, checker, raw))
		iss.Rotate(sdk.EdDSA)
		iss.Revoke(raw)
		time.Sleep(ttl)
		wantRefused(t, check(t, checker, raw))
	})
}

func TestAKeyThatIsWithdrawnIsKnownFromTheNextList(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, _ *lists, checker *sdk.Checker) {
		iss.Rotate(sdk.EdDSA)
		old := iss.Token(billing)
		wantAccepted(t, check(t, checker, old))
		fetched := iss.Fetches()
		iss.Rotate(sdk.EdDSA) // waits in every cache, as the issuer's next key does
		time.Sleep(ttl)
		wantAccepted(t, check(t, checker, old))
		synctest.Wait()
		if iss.Fetches() != fetched+1 {
			t.Fatalf("%d fetches of the key set, want one more than %d", iss.Fetches(), fetched)
		}
		iss.Withdraw()
		time.Sleep(ttl)
		_ = check(t, checker, old) // brings the list
		synctest.Wait()
		wantRefused(t, check(t, checker, old))
	})
}

func TestAKeySetThatIsNeverTheOneOfTheListIsAskedForEverLessOften(t *testing.T) {
	withStatus(t, nil, func(t *testing.T, iss *sdktest.Issuer, l *lists, checker *sdk.Checker) {
		l.set(says(200, string(iss.KeySet())+"\n", "Cache-Control", "max-age=3600")) // from a cache that rewrites it
		began, fetched := time.Now(), iss.Fetches()
		for time.Since(began) < 10*time.Minute {
			wantAccepted(t, check(t, checker, iss.Token(billing)))
			time.Sleep(time.Second)
		}
		if n := l.wire.count() - fetched; n < 5 || n > 17 {
			t.Fatalf("%d fetches in ten minutes", n)
		}
	})
}
