package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/issuer"
)

// withoutKeys is a store in which there are no signing keys, and none can be put.
type withoutKeys struct{}

func (withoutKeys) SigningKeys(context.Context) ([]issuer.SealedKey, time.Time, error) {
	return nil, noon, nil
}

func (withoutKeys) ChangeSigningKeys(context.Context, func(time.Time, []issuer.SealedKey) ([]issuer.SealedKey, error)) error {
	return errors.New("read only")
}

func (w *world) readyz() (int, string) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.server.Operations().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return rec.Code, rec.Body.String()
}

func TestAServerThatCannotSignIsNotReady(t *testing.T) {
	w := newWorld(t, options{config: func(cfg *setup) {
		ring, err := issuer.OpenKeyring(t.Context(), issuer.KeyringConfig{Store: withoutKeys{}, MasterKey: issuer.NewMasterKey()})
		if err == nil {
			t.Error("a keyring without keys opens as if it had some")
		}
		cfg.Keys = ring
	}})
	if code, body := w.readyz(); code != 503 || body != "not ready\nsigning keys: signing EdDSA: no signing key of EdDSA\n" {
		t.Errorf("%d %q", code, body)
	}
}

func TestTheLogSaysWhenReadinessChanges(t *testing.T) {
	var amiss error
	w := newWorld(t, options{config: func(cfg *setup) { cfg.Ready = func(context.Context) error { return amiss } }})
	for _, amiss = range []error{nil, errors.New("a"), errors.New("b"), nil, nil, errors.New("c")} {
		w.readyz()
		w.readyz()
	}
	logged := w.logs.String()
	for text, times := range map[string]int{`"msg":"not ready","part":"store"`: 2, `"msg":"ready again","part":"store"`: 1, "\n": 3} {
		if n := strings.Count(logged, text); n != times {
			t.Errorf("%d times %s in\n%s", n, text, logged)
		}
	}
}

func TestWhoAsksAndLeavesChangesNothing(t *testing.T) {
	w := newWorld(t, options{config: func(cfg *setup) { cfg.Ready = func(ctx context.Context) error { return ctx.Err() } }})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	w.server.Operations().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", nil).WithContext(ctx))
	if logged := w.logs.String(); logged != "" {
		t.Errorf("logged %s", logged)
	}
}
