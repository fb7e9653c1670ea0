package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// TestReadme runs what the README shows, as a newcomer would paste it, but on
// ports that are free here.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	public, ops := freeAddress(t), freeAddress(t)
	shell := func(block string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", block)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "CAMBIO_LISTEN="+public, "CAMBIO_OPS_LISTEN="+ops)
		cmd.Stderr = t.Output()
		return cmd
	}

	setup := shell(strings.Replace(readmeBlock(t, text, "setup"), "cambio serve", "exec cambio serve", 1))
	if err := setup.Start(); err != nil {
		t.Fatal(err)
	}
	ready := false
	for range 500 {
		if ready = answers(t, "http://"+ops+"/readyz"); ready {
			break
		}
		time.Sleep(20 * time.Millisecond) // between two looks, not for the outcome
	}
	if !ready {
		t.Fatal("the server never became ready")
	}

	exchange := shell(strings.ReplaceAll(readmeBlock(t, text, "exchange"), "127.0.0.1:8080", public))
	exchange.Dir = setup.Dir
	out, err := exchange.Output()
	if err != nil {
		t.Fatalf("%v: is curl installed?", err)
	}
	var answer wire.TokenResponse
	if err := json.Unmarshal(out, &answer); err != nil || answer.AccessToken == "" || answer.ExpiresIn != 300 {
		t.Errorf("%+v, %v", answer, err)
	}
	if want := fmt.Sprintf(`"expires_in":%d,"scope":%q`, answer.ExpiresIn, answer.Scope); !strings.Contains(string(text), want) {
		t.Errorf("the README shows another answer than %s", want)
	}

	if err := setup.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := setup.Wait(); err != nil {
		t.Errorf("the server did not end well: %v", err)
	}
}

func TestReadmeNamesThePatternOfKeys(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "`"+verifier.KeyPattern+"`") {
		t.Errorf("the README does not show %s", verifier.KeyPattern)
	}
}

// readmeBlock returns the fenced block under the comment <!-- run: name -->.
func readmeBlock(t *testing.T, text []byte, name string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)<!-- run: " + name + " -->\n```bash\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("the README has no block %q", name)
	}
	return string(m[1])
}

// freeAddress is on a port of loopback that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func answers(t *testing.T, url string) bool {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
