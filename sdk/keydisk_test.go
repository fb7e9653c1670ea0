package sdk_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/sdk"
)

func slowToRead(d time.Duration) func(sdk.Disk) sdk.Disk {
	return func(real sdk.Disk) sdk.Disk {
		return sdk.Disk{Write: real.Write, Read: func(path string) ([]byte, error) {
			time.Sleep(d)
			return real.Read(path)
		}}
	}
}

func TestAFileReadLateBringsNoWithdrawnKeyBack(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		old := h.iss.Token(billing)
		h.iss.Rotate(sdk.EdDSA)
		h.iss.Withdraw()
		h.set(after(100*time.Millisecond, served(h.iss)))
		h.disk = slowToRead(200 * time.Millisecond)
		checker := h.boot(t)
		wantAccepted(t, checker.Ready(t.Context()))
		time.Sleep(time.Second)
		wantRefused(t, check(t, checker, old))
	})
}

func TestASlowDiskDelaysNoTokenWhileTheIssuerAnswers(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.set(served(h.iss))
		h.disk = slowToRead(time.Minute)
		h.wantAtOnce(t, h.boot(t))
	})
}

func TestASlowFileIsWaitedForWhereTheIssuerFailsAtOnce(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.set(cut)
		h.disk = slowToRead(300 * time.Millisecond)
		began := time.Now()
		wantAccepted(t, check(t, h.boot(t), h.iss.Token(billing)))
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Fatalf("took %v", took)
		}
	})
}

func TestADiskThatHangsHoldsNoCheckLongerThanAFetchMay(t *testing.T) {
	for name, failure := range map[string]handler{"down": cut, "slow": hangs} {
		t.Run(name, func(t *testing.T) {
			onHost(t, func(t *testing.T, h *host) {
				h.set(failure)
				h.disk = slowToRead(10 * time.Second)
				checker := h.boot(t)
				for range 3 {
					began := time.Now()
					wantUnavailable(t, check(t, checker, h.iss.Token(billing)))
					if took := time.Since(began); took > 3*time.Second {
						t.Fatalf("took %v", took)
					}
				}
				time.Sleep(time.Second)
				h.wantAtOnce(t, checker) // better late than never
			})
		})
	}
}

func TestADiskThatHangsHoldsNoRefreshAndGetsTheNewestSetInTheEnd(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.set(served(h.iss))
		writes := 0
		h.disk = func(real sdk.Disk) sdk.Disk {
			return sdk.Disk{Read: real.Read, Write: func(path string, text []byte) error {
				if writes++; writes == 1 {
					time.Sleep(time.Hour)
				}
				return real.Write(path, text)
			}}
		}
		checker := h.boot(t)
		for range 10 {
			wantAccepted(t, check(t, checker, h.iss.Token(billing)))
			time.Sleep(4 * time.Minute)
			h.iss.Rotate(sdk.EdDSA)
			h.iss.Withdraw()
		}
		wantAccepted(t, check(t, checker, h.iss.Token(billing)))
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if writes != 2 {
			t.Fatalf("%d writes, want the one that hung and the newest", writes)
		}
		h.set(hangs)
		h.wantAtOnce(t, h.boot(t))
	})
}

func TestToFetchOftenIsNotToWriteOften(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.set(served(h.iss))
		writes := 0
		h.disk = func(real sdk.Disk) sdk.Disk {
			return sdk.Disk{Read: real.Read, Write: func(path string, text []byte) error {
				writes++
				return real.Write(path, text)
			}}
		}
		checker, fetches := h.boot(t), h.count()
		for i := range 299 {
			wantRefused(t, check(t, checker, forgedKid(h.iss, i)))
		}
		synctest.Wait()
		if fetches = h.count() - fetches; fetches != 299 || writes != 2 {
			t.Fatalf("%d fetches, %d writes in five minutes", fetches, writes)
		}
	})
}

func TestADiskThatCannotBeWrittenFailsNoCheckAndIsTriedAgain(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.set(served(h.iss))
		full := errors.New("no space left")
		h.disk = func(real sdk.Disk) sdk.Disk {
			return sdk.Disk{Read: real.Read, Write: func(path string, text []byte) error {
				if full != nil {
					return full
				}
				return real.Write(path, text)
			}}
		}
		h.iss.Rotate(sdk.EdDSA)
		h.iss.Withdraw()
		checker := h.boot(t)
		wantAccepted(t, check(t, checker, h.iss.Token(billing)))
		h.wantTold(t, 1, "writing the key set file: no space left")
		full = nil
		time.Sleep(time.Second)
		wantRefused(t, check(t, checker, forgedKid(h.iss, 1))) // has the set fetched
		synctest.Wait()
		h.set(hangs)
		h.wantAtOnce(t, h.boot(t))
	})
}

func TestADirectoryThatIsNotThereFailsNoCheck(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		h.set(served(h.iss))
		h.file = filepath.Join(h.file+".d", "keys")
		wantAccepted(t, check(t, h.boot(t), h.iss.Token(billing)))
		h.wantTold(t, 1, "writing")
		if !errors.Is(h.told[0], fs.ErrNotExist) {
			t.Fatalf("got %v", h.told[0])
		}
	})
}
