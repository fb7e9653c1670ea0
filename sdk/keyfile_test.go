package sdk_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// host is a place where a checker is started again and again, with a key set file.
type host struct {
	*wire
	iss  *sdktest.Issuer
	file string
	disk func(sdk.Disk) sdk.Disk // zero: the real one

	mu   sync.Mutex
	told []error // of what is wrong with the file
}

// onHost runs a test in virtual time. The file holds the set of the issuer, fetched
// this moment, good for five minutes and an hour; and then the issuer goes down.
func onHost(t *testing.T, test func(t *testing.T, h *host)) {
	t.Helper()
	iss := start(t)
	synctest.Test(t, func(t *testing.T) {
		h := &host{wire: newWire(served(iss)), iss: iss, file: filepath.Join(t.TempDir(), "keys")}
		wantAccepted(t, h.boot(t).Ready(t.Context()))
		synctest.Wait() // the file is written
		h.set(hangs)
		test(t, h)
		time.Sleep(time.Minute) // whatever still flies lands
	})
}

func (h *host) config() sdk.CheckerConfig {
	config := h.iss.CheckerConfig(billing)
	config.HTTPClient = h.client()
	config.KeySetFile = h.file
	config.OnKeySetFileError = func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, err)
	}
	return config
}

func (h *host) boot(t *testing.T) *sdk.Checker {
	t.Helper()
	checker := newChecker(t, h.config())
	if h.disk != nil {
		sdk.OnDisk(checker, h.disk)
	}
	return checker
}

func (h *host) wantTold(t *testing.T, n int, why string) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.told) != n {
		t.Fatalf("told %q, want %d times", h.told, n)
	}
	for _, err := range h.told {
		if !strings.Contains(err.Error(), why) {
			t.Fatalf("told %v, want %q", err, why)
		}
	}
}

func (h *host) content(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (h *host) replace(t *testing.T, text []byte) {
	t.Helper()
	if err := os.WriteFile(h.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantAtOnce is a check that waits for nobody.
func (h *host) wantAtOnce(t *testing.T, checker *sdk.Checker) {
	t.Helper()
	began := time.Now()
	wantAccepted(t, check(t, checker, h.iss.Token(billing)))
	if took := time.Since(began); took > 0 {
		t.Fatalf("took %v", took)
	}
}

func TestAfterARestartTokensAreAcceptedAtOnceAlthoughTheIssuerIsDown(t *testing.T) {
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			onHost(t, func(t *testing.T, h *host) {
				h.set(failure)
				checker := h.boot(t)
				for _, err := range together(50, func(int) error { return check(t, checker, h.iss.Token(billing)) }) {
					wantAccepted(t, err)
				}
				h.wantAtOnce(t, checker)
				synctest.Wait()
				if n := h.count(); n != 2 {
					t.Fatalf("%d fetches, want one of each start", n)
				}
				h.wantTold(t, 0, "")
			})
		})
	}
}

func TestAfterARestartWithAFileAServiceIsReady(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		began := time.Now()
		wantAccepted(t, h.boot(t).Ready(t.Context()))
		if took := time.Since(began); took > 0 {
			t.Fatalf("took %v", took)
		}
	})
}

func TestAnUnknownKidIsNotMadeKnownByTheFile(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		checker := h.boot(t)
		wantUnavailable(t, check(t, checker, forgedKid(h.iss, 1)))
		h.set(served(h.iss))
		wantRefused(t, check(t, checker, forgedKid(h.iss, 2)))
		h.iss.Rotate(sdk.EdDSA)
		wantAccepted(t, check(t, checker, h.iss.Token(billing)))
	})
}

func TestNoRestartMakesTheSetLiveLonger(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		end := time.Now().Add(5*time.Minute + time.Hour)
		var running []*sdk.Checker
		for time.Now().Before(end) {
			running = append(running, h.boot(t))
			for _, checker := range running {
				h.wantAtOnce(t, checker)
			}
			time.Sleep(min(4*time.Minute, time.Until(end.Add(-1))+1))
		}
		h.wantTold(t, 0, "")
		for _, checker := range append(running, h.boot(t)) {
			wantUnavailable(t, check(t, checker, h.iss.Token(billing)))
		}
		h.wantTold(t, 1, "too old")
	})
}

func TestAFileDatedInTheFutureIsNotBelieved(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.iss.Advance(-time.Second)
		wantUnavailable(t, check(t, h.boot(t), h.iss.Token(billing)))
		h.wantTold(t, 1, "future")
	})
}

func TestARefreshRenewsTheFileEvenIfNothingChanged(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		body := h.iss.KeySet()
		for name, answer := range map[string][]string{"200": {}, "304": {"ETag", `"v1"`}} {
			h.set(says(200, string(body), answer...))
			checker := h.boot(t)
			wantAccepted(t, checker.Ready(t.Context()))
			time.Sleep(time.Second)
			synctest.Wait()
			if name == "304" {
				h.set(says(304, ""))
			}
			for range 30 {
				h.wantAtOnce(t, checker)
				time.Sleep(4 * time.Minute)
			}
			h.set(hangs)
			time.Sleep(time.Hour - time.Minute)
			h.wantAtOnce(t, h.boot(t))
		}
	})
}

func TestTheFileDoesNotOutliveAShorterMaxAge(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.set(says(200, string(h.iss.KeySet()), "Cache-Control", "max-age=3600"))
		checker := h.boot(t)
		wantAccepted(t, checker.Ready(t.Context()))
		time.Sleep(2 * time.Second)
		h.set(says(200, string(h.iss.KeySet()), "Cache-Control", "max-age=60"))
		wantRefused(t, check(t, checker, forgedKid(h.iss, 1))) // has the set fetched
		h.set(hangs)
		time.Sleep(time.Hour + time.Minute)
		wantUnavailable(t, check(t, checker, h.iss.Token(billing)))
		wantUnavailable(t, check(t, h.boot(t), h.iss.Token(billing)))
	})
}

func TestAWithdrawnKeyLeavesTheFileWithTheVeryNextRefresh(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.set(served(h.iss))
		checker, old := h.boot(t), h.iss.Token(billing)
		wantAccepted(t, check(t, checker, old))
		h.iss.Rotate(sdk.EdDSA)
		h.iss.Withdraw()
		wantAccepted(t, check(t, checker, h.iss.Token(billing))) // a second later
		synctest.Wait()
		h.set(hangs)
		again := h.boot(t)
		h.wantAtOnce(t, again)
		wantUnavailable(t, check(t, again, old))
	})
}

func TestTheFileIsForItsOwnerAndNothingElseIsLeftBeside(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		info, err := os.Lstat(h.file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Fatalf("mode %v", info.Mode())
		}
		wantFiles(t, h.file, 1)
		if text := h.content(t); !bytes.HasSuffix(text, h.iss.KeySet()) || len(text) > len(h.iss.KeySet())+300 {
			t.Fatalf("%s", text)
		}
	})
}
