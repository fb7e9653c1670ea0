package sdk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cambio-auth/cambio/sdk"
)

// sealed is a key file of these lines with a sum that is right.
func sealed(lines ...string) []byte {
	rest := strings.Join(lines, "\n")
	sum := sha256.Sum256([]byte(rest))
	return []byte(hex.EncodeToString(sum[:]) + "\n" + rest)
}

func TestAFileIsNotBelievedWhen(t *testing.T) {
	type spoil = func(t *testing.T, h *host)
	text := func(change func(h *host, text string) string) spoil {
		return func(t *testing.T, h *host) { h.replace(t, []byte(change(h, string(h.content(t))))) }
	}
	head := func(h *host, url string, fetched, maxAge int64) string {
		return fmt.Sprintf(`{"jwks_url":%q,"fetched":%d,"max_age":%d}`, h.iss.URL()+url, fetched, maxAge)
	}
	const keys = "/.well-known/jwks.json"
	for name, spoil := range map[string]spoil{
		"it is empty":                     text(func(*host, string) string { return "" }),
		"it ends early":                   text(func(_ *host, s string) string { return s[:len(s)-1] }),
		"something follows":               text(func(_ *host, s string) string { return s + "\n" }),
		"its sum is missing":              text(func(_ *host, s string) string { return s[strings.IndexByte(s, '\n')+1:] }),
		"its head is missing":             text(func(h *host, _ string) string { return string(sealed(string(h.iss.KeySet()))) }),
		"it is the set alone":             text(func(h *host, _ string) string { return string(h.iss.KeySet()) }),
		"one letter of it was changed":    text(func(_ *host, s string) string { return strings.Replace(s, `"use":"sig"`, `"use":"sog"`, 1) }),
		"the set is of another issuer":    sealedWith(func(h *host, now int64) string { return head(h, ".example.com"+keys, now, 300) }),
		"the set is from another address": sealedWith(func(h *host, now int64) string { return head(h, "/other.json", now, 300) }),
		"it is dated in the future":       sealedWith(func(h *host, now int64) string { return head(h, keys, now+1, 300) }),
		"it is dated at the end of time":  sealedWith(func(h *host, _ int64) string { return head(h, keys, 1<<63-1, 300) }),
		"it is dated before all time":     sealedWith(func(h *host, _ int64) string { return head(h, keys, -1<<63, 300) }),
		"it is too old":                   sealedWith(func(h *host, now int64) string { return head(h, keys, now-3900, 300) }),
		"its age is beyond our bounds":    sealedWith(func(h *host, now int64) string { return head(h, keys, now, 3601) }),
		"its age would overflow":          sealedWith(func(h *host, now int64) string { return head(h, keys, now, 1<<63-1) }),
		"its age is negative":             sealedWith(func(h *host, now int64) string { return head(h, keys, now, -1) }),
		"a number is a text": sealedWith(func(h *host, now int64) string {
			return strings.Replace(head(h, keys, now, 300), "300", `"300"`, 1)
		}),
		"a member comes twice": sealedWith(func(h *host, now int64) string {
			return strings.Replace(head(h, keys, now, 300), "{", `{"fetched":1,`, 1)
		}),
		"its set has no key for us": func(t *testing.T, h *host) {
			h.replace(t, sealed(strings.Split(string(h.content(t)), "\n")[1], `{"keys":[]}`))
		},
		"it is huge": func(t *testing.T, h *host) {
			lines := strings.Split(string(h.content(t)), "\n")
			h.replace(t, sealed(lines[1], lines[2]+strings.Repeat(" ", 516<<10)))
		},
		"it is a directory": func(t *testing.T, h *host) {
			wantAccepted(t, os.Remove(h.file))
			wantAccepted(t, os.Mkdir(h.file, 0o700))
		},
		"it is a symbolic link": func(t *testing.T, h *host) {
			wantAccepted(t, os.Rename(h.file, h.file+".elsewhere"))
			wantAccepted(t, os.Symlink(h.file+".elsewhere", h.file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onHost(t, func(t *testing.T, h *host) { wantDisbelieved(t, h, spoil) })
		})
	}
	t.Run("nothing of this is the matter, it is", func(t *testing.T) {
		onHost(t, func(t *testing.T, h *host) {
			sealedWith(func(h *host, now int64) string { return head(h, keys, now-3899, 300) })(t, h)
			h.wantAtOnce(t, h.boot(t))
		})
	})
}

func sealedWith(head func(h *host, now int64) string) func(t *testing.T, h *host) {
	return func(t *testing.T, h *host) {
		h.replace(t, sealed(head(h, h.iss.Now().Unix()), string(h.iss.KeySet())))
	}
}

// wantDisbelieved spoils the file: then it brings no key, says so, and is replaced
// as soon as the issuer answers.
func wantDisbelieved(t *testing.T, h *host, spoil func(t *testing.T, h *host)) {
	t.Helper()
	spoil(t, h)
	checker := h.boot(t)
	wantUnavailable(t, check(t, checker, h.iss.Token(billing)))
	h.wantTold(t, 1, "reading the key set file")

	h.set(served(h.iss))
	wantAccepted(t, check(t, checker, h.iss.Token(billing)))
	synctest.Wait()
	if info, err := os.Lstat(h.file); err != nil || info.IsDir() {
		h.wantTold(t, 2, "the key set file") // and to write it failed: we remove no directory
		wantFiles(t, h.file, 1)
		return
	}
	h.set(hangs)
	h.wantAtOnce(t, h.boot(t))
}

func wantFiles(t *testing.T, beside string, n int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(beside))
	if err != nil || len(entries) != n {
		t.Fatalf("%v, %v", entries, err)
	}
}

func TestNoFileYetIsNoMistake(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		wantAccepted(t, os.Remove(h.file))
		wantUnavailable(t, check(t, h.boot(t), h.iss.Token(billing)))
		h.wantTold(t, 0, "")
	})
}

func TestAFileCutAnywhereIsNotBelieved(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		whole := h.content(t)
		h.set(cut)
		for n := 0; n < len(whole); n += 7 {
			h.replace(t, whole[:n])
			wantUnavailable(t, h.boot(t).Ready(t.Context()))
		}
		h.replace(t, whole)
		wantAccepted(t, h.boot(t).Ready(t.Context()))
	})
}

func TestTwoIssuersInOneFileDoNotTrustEachOther(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		config, claims := h.config(), h.iss.Claims(billing)
		config.Issuer, claims["iss"] = "https://other.example.com", "https://other.example.com"
		wantUnavailable(t, check(t, newChecker(t, config), h.iss.Mint(claims)))
		h.wantTold(t, 1, "of another issuer")
	})
}

// Processes that share a file write and read it as they like.
func TestWhoeverReadsASharedFileFindsAWholeSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	var issuers [2][]byte
	for i := range issuers {
		issuers[i] = sealed("head", strings.Repeat(fmt.Sprint(i), 100<<10))
	}
	disk := realDisk(t, file)
	wantAccepted(t, disk.Write(file, issuers[0]))
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for i := range issuers {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := disk.Write(file, issuers[i]); err != nil {
					t.Error(err)
					return
				}
			}
		})
		readers.Go(func() {
			for range 300 {
				text, err := disk.Read(file)
				if err != nil || !bytes.Equal(text, issuers[0]) && !bytes.Equal(text, issuers[1]) {
					t.Errorf("found %d bytes, %v", len(text), err)
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writers.Wait()
}

func realDisk(t *testing.T, file string) (disk sdk.Disk) {
	t.Helper()
	checker := newChecker(t, sdk.CheckerConfig{Issuer: "https://issuer.example.com", Audience: billing, KeySetFile: file})
	sdk.OnDisk(checker, func(real sdk.Disk) sdk.Disk {
		disk = real
		return real
	})
	return disk
}
