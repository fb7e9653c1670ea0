package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// TestReadme runs what the README shows, as a newcomer would paste it, but on
// ports that are free here.
func TestReadme(t *testing.T) {
	n := startNewcomer(t)
	answer := n.exchange(t)
	if answer.AccessToken == "" || answer.ExpiresIn != 300 {
		t.Errorf("%+v", answer)
	}
	if want := fmt.Sprintf(`"expires_in":%d,"scope":%q`, answer.ExpiresIn, answer.Scope); !strings.Contains(n.readme, want) {
		t.Errorf("the README shows another answer than %s", want)
	}
}

// TestReadmeManages pastes what needs a client with other rights.
func TestReadmeManages(t *testing.T) {
	n := startNewcomer(t)
	var verified [2]wire.Verified
	verify := n.here(readmeBlock(t, n.readme, "verify"))
	n.paste(t, verify, &verified[0])
	_, again, _ := strings.Cut(verify, "\n") // the client is there
	n.paste(t, again, &verified[1])
	for i, v := range verified {
		if !v.Valid || v.Code != wire.CodeValid || v.Replayed != (i == 1) || v.Remaining == nil || *v.Remaining != 999 {
			t.Errorf("%d: %+v", i, v)
		}
	}
	var made wire.CreatedKey
	n.paste(t, n.here(readmeBlock(t, n.readme, "manage")), &made)
	if made.Secret == nil || made.Owner != "user_43" || made.Refill == nil || *made.Refill != "1000/month" {
		t.Errorf("%+v", made.Key)
	}
}

func TestReadmeImports(t *testing.T) {
	n := newcomer{readme: readReadme(t), dir: t.TempDir()}
	out, err := n.shell(t, readmeBlock(t, n.readme, "import")).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(out), `"outcome":"import"`); got != 2 {
		t.Errorf("%d keys were imported:\n%s", got, out)
	}
}

func TestReadmeMakesClientsWithoutASecret(t *testing.T) {
	n := newcomer{readme: readReadme(t), dir: t.TempDir()}
	cfg := config.Config{TLSCert: filepath.Join(n.dir, "kiosk.pem"), TLSKey: filepath.Join(n.dir, "kiosk-key.pem")}
	writeCertificate(t, cfg, 1)
	set := `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}` // RFC 8037 app. A
	write(t, filepath.Join(n.dir, "orders.jwks.json"), []byte(set), 1)
	var list struct{ Clients []wire.Client }
	n.paste(t, readmeBlock(t, n.readme, "clientkeys")+"cambio client list --json", &list)
	if len(list.Clients) != 3 {
		t.Fatalf("%d clients", len(list.Clients))
	}
	kiosk, orders, tills := list.Clients[0], list.Clients[1], list.Clients[2]
	if len(kiosk.Certificates) != 1 || orders.JWKS == nil || tills.SANDNS != "tills.example.com" {
		t.Errorf("%+v", list.Clients)
	}
	for _, c := range list.Clients {
		if len(c.Secrets) != 0 {
			t.Errorf("%s has a secret", c.ID)
		}
	}
}

func TestReadmeRestores(t *testing.T) {
	n := newcomer{readme: readReadme(t), dir: t.TempDir()}
	for _, block := range []string{"cambio key create >/dev/null", readmeBlock(t, n.readme, "backup")} {
		if err := n.shell(t, block).Run(); err != nil {
			t.Fatal(err)
		}
	}
	out, err := n.shell(t, readmeBlock(t, n.readme, "restore")).Output()
	if err != nil || !strings.Contains(string(out), "because it is the copy that cambio backup made") {
		t.Errorf("%v: %s", err, out)
	}
}

// paste runs a block that prints JSON.
func (n newcomer) paste(t *testing.T, block string, answer any) {
	t.Helper()
	out, err := n.shell(t, block).Output()
	if err != nil {
		t.Fatalf("%v: is curl installed?", err)
	}
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A newcomer has pasted the README's setup: a server runs until the test ends.
type newcomer struct {
	readme      string
	dir         string
	public, ops string // where the server listens
}

func startNewcomer(t *testing.T) newcomer {
	t.Helper()
	n := newcomer{readme: readReadme(t), dir: t.TempDir(), public: freeAddress(t), ops: freeAddress(t)}
	setup := n.shell(t, strings.Replace(readmeBlock(t, n.readme, "setup"), "cambio serve", "exec cambio serve", 1))
	if err := setup.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := setup.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := setup.Wait(); err != nil {
			t.Errorf("the server did not end well: %v", err)
		}
	})
	for range 500 {
		if answers(t, "http://"+n.ops+"/readyz") {
			return n
		}
		time.Sleep(20 * time.Millisecond) // between two looks, not for the outcome
	}
	t.Fatal("the server never became ready")
	return n
}

// exchange pastes the exchange of the README.
func (n newcomer) exchange(t *testing.T) wire.TokenResponse {
	t.Helper()
	var answer wire.TokenResponse
	n.paste(t, n.here(readmeBlock(t, n.readme, "exchange")), &answer)
	return answer
}

// here is text about the server of this test.
func (n newcomer) here(text string) string {
	return strings.ReplaceAll(text, readmeAddress, n.public)
}

func (n newcomer) shell(t *testing.T, block string) *exec.Cmd {
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", block)
	cmd.Dir = n.dir
	cmd.Env = append(os.Environ(), "CAMBIO_LISTEN="+n.public, "CAMBIO_OPS_LISTEN="+n.ops)
	cmd.Stderr = t.Output()
	return cmd
}

func TestReadmeNamesThePatternOfKeys(t *testing.T) {
	if !strings.Contains(readReadme(t), "`"+verifier.KeyPattern+"`") {
		t.Errorf("the README does not show %s", verifier.KeyPattern)
	}
}

// readmeAddress is where the server of the README listens.
const readmeAddress = "127.0.0.1:8080"

func readReadme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readmeBlock returns the fenced block under the comment <!-- run: name -->.
func readmeBlock(t *testing.T, readme, name string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)<!-- run: " + name + " -->\n```[a-z]+\n(.*?)```").FindStringSubmatch(readme)
	if m == nil {
		t.Fatalf("the README has no block %q", name)
	}
	return m[1]
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
