package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/cambio-auth/cambio/internal/client"
)

func completionOf(t *testing.T, shell string) string {
	t.Helper()
	var out, failed bytes.Buffer
	if code := run(t.Context(), []string{"completion", shell}, process{stdout: &out, stderr: &failed}); code != 0 {
		t.Fatal(failed.String())
	}
	return out.String()
}

// bashWordBreaks is what bash splits words at that are being typed, unless told
// otherwise.
const bashWordBreaks = " \t\n\"'><=;|&(:"

// askBash returns what bash offers after line, by its own function.
func askBash(t *testing.T, line, wordBreaks string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"cambio.bash": completionOf(t, "bash"), "cert one.pem": "", "cert.pem": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const ask = `source cambio.bash
[[ $(complete -p cambio) == 'complete -F _cambio cambio' ]] || exit 3
COMP_WORDBREAKS=$2 COMP_LINE=$1 COMP_POINT=${#1}
_cambio
printf '%s\n' "${COMPREPLY[@]}"`
	cmd := exec.CommandContext(t.Context(), "bash", "-c", ask, "bash", line, wordBreaks)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(string(out), "cert one", "cert_one"))
}

func TestBashCompletes(t *testing.T) {
	var rights []string
	for _, right := range client.Rights() {
		if action, ok := strings.CutPrefix(string(right), "keys:"); ok {
			rights = append(rights, action)
		}
	}
	for name, test := range map[string]struct {
		line string
		want []string
	}{
		"a command that was begun":            {"cambio sign", []string{"signing-key"}},
		"a command of a command":              {"cambio client se", []string{"secret"}},
		"what is below that":                  {"cambio client secret ", []string{"add", "revoke", "--help"}},
		"a flag":                              {"cambio key rotate key_1 --ov", []string{"--overlap"}},
		"a flag that turns another off":       {"cambio keyspace update x --no-imp", []string{"--no-imported-keys"}},
		"a flag after one with a value":       {"cambio key list --state active --own", []string{"--owner"}},
		"values that are known":               {"cambio key list --state ", []string{"active", "disabled", "revoked", "expired"}},
		"a value that was begun":              {"cambio key list --state re", []string{"revoked"}},
		"a value after an equals sign":        {"cambio key list --state=re", []string{"revoked"}},
		"a value with a colon, behind it":     {"cambio client create x --right keys:", rights},
		"no value that only the user knows":   {"cambio key list --owner ", nil},
		"a file":                              {"cambio serve --tls-cert cert.", []string{"cert.pem"}},
		"a file with a space in its name":     {"cambio serve --tls-cert 'cert", nil},
		"files after an equals sign":          {"cambio serve --tls-cert=cert", []string{"cert.pem", "cert_one.pem"}},
		"an argument of known values":         {"cambio completion z", []string{"zsh"}},
		"nothing for what is no command":      {"cambio frobnicate", nil},
		"a word like a command that is none":  {"cambio key create --name list --keysp", []string{"--keyspace"}},
		"what a pattern of files would match": {"cambio key create --audience * --own", []string{"--owner"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := askBash(t, test.line, bashWordBreaks)
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("offers %q, want %q", got, test.want)
			}
		})
	}
	t.Run("whole words where bash does not split them", func(t *testing.T) {
		for line, want := range map[string]string{
			"cambio key list --state=re":              "--state=revoked",
			"cambio client create x --right keys:pee": "keys:peek",
		} {
			if got := askBash(t, line, " \t\n"); len(got) != 1 || got[0] != want {
				t.Errorf("after %s it offers %q, want %s", line, got, want)
			}
		}
	})
}

// everyCommand calls visit with each command and the words that call it.
func everyCommand(t *testing.T, visit func(node *kong.Node, path string)) {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("cambio"))
	if err != nil {
		t.Fatal(err)
	}
	var walk func(node *kong.Node, path string)
	walk = func(node *kong.Node, path string) {
		visit(node, path)
		for _, child := range node.Children {
			if !child.Hidden { // which nobody is offered
				walk(child, path+" "+child.Name)
			}
		}
	}
	walk(parser.Model.Node, "cambio")
}

func TestCompletionsHoldEveryCommandAndFlag(t *testing.T) {
	bash, zsh, fish := completionOf(t, "bash"), completionOf(t, "zsh"), completionOf(t, "fish")
	commands := 0
	everyCommand(t, func(node *kong.Node, path string) {
		commands++
		for shell, holds := range map[string]bool{
			"bash": strings.Contains(bash, "      '"+path+"') list='"),
			"zsh":  strings.Contains(zsh, "    ('"+path+"') list=("),
		} {
			if !holds {
				t.Errorf("%s: %s is missing", shell, path)
			}
		}
		for _, flag := range node.Flags {
			if begin := fmt.Sprintf(`complete -c cambio -n "__cambio_at '%s'" -l %s `, path, flag.Name); !strings.Contains(fish, begin) {
				t.Errorf("fish: %s --%s is missing", path, flag.Name)
			}
		}
	})
	if commands < 50 {
		t.Errorf("only %d commands were looked at", commands)
	}
	for shell, line := range map[string]string{
		zsh:  "    ('cambio key list --state') compadd -- active disabled revoked expired; return ;;\n",
		fish: `complete -c cambio -n "__cambio_at 'cambio key list'" -l state -x -a 'active disabled revoked expired' -d `,
	} {
		if !strings.Contains(shell, line) {
			t.Errorf("%s is missing", line)
		}
	}
}

// Where the shell itself is there, it reads the script.
func TestCompletionsAreOfTheirShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("%s is not installed; only its text was looked at", shell)
			}
			cmd := exec.CommandContext(t.Context(), shell, "-n", "/dev/stdin")
			cmd.Stdin = strings.NewReader(completionOf(t, shell))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestEveryCommandShowsAnExample(t *testing.T) {
	everyCommand(t, func(node *kong.Node, path string) {
		if len(node.Children) > 0 {
			return
		}
		if !strings.Contains(node.Detail, "\n    "+path) && !strings.Contains(node.Detail, path+" ") {
			t.Errorf("the help of %s has no example of it", path)
		}
	})
}
