//go:build unix

package sdk_test

import (
	"os"
	"syscall"
	"testing"
)

func TestAFileIsNotBelievedWhereOthersMayWriteIt(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, h *host){
		"its group":    func(t *testing.T, h *host) { wantAccepted(t, os.Chmod(h.file, 0o620)) },
		"all the rest": func(t *testing.T, h *host) { wantAccepted(t, os.Chmod(h.file, 0o602)) },
		"another owner": func(t *testing.T, h *host) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			wantAccepted(t, os.Chown(h.file, 12345, -1))
		},
		"who holds the other end of a pipe": func(t *testing.T, h *host) {
			wantAccepted(t, os.Remove(h.file))
			wantAccepted(t, syscall.Mkfifo(h.file, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onHost(t, func(t *testing.T, h *host) { wantDisbelieved(t, h, spoil) })
		})
	}
}

func TestOthersMayReadTheFile(t *testing.T) {
	onHost(t, func(t *testing.T, h *host) {
		wantAccepted(t, os.Chmod(h.file, 0o644))
		h.wantAtOnce(t, h.boot(t))
	})
}
