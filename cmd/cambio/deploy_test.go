package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/httpapi"
)

// longestStop is how long a server may take to stop, at most.
const longestStop = 3 * httpapi.DefaultGrace

// node is a part of a YAML document.
type node struct {
	t     *testing.T
	path  string
	value any
}

// documents reads a file of the repository.
func documents(t *testing.T, path string) (all []node) {
	t.Helper()
	file, err := os.Open(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for decoder := yaml.NewDecoder(file); ; {
		var value any
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, node{t, path, value})
	}
}

// at goes down by keys and indexes. It fails the test if there is nothing.
func (n node) at(keys ...any) node {
	n.t.Helper()
	for _, key := range keys {
		switch key := key.(type) {
		case string:
			n.value = n.object()[key]
		case int:
			n.value = n.list()[key].value
		}
		n.path += "." + strings.TrimSpace(yamlOf(key))
		if n.value == nil {
			n.t.Fatalf("%s is missing", n.path)
		}
	}
	return n
}

func yamlOf(value any) string {
	text, _ := yaml.Marshal(value) // of a string or a number
	return string(text)
}

func (n node) object() map[string]any {
	n.t.Helper()
	object, ok := n.value.(map[string]any)
	if !ok {
		n.t.Fatalf("%s is %v, want a mapping", n.path, n.value)
	}
	return object
}

func (n node) list() (all []node) {
	n.t.Helper()
	list, ok := n.value.([]any)
	if !ok {
		n.t.Fatalf("%s is %v, want a list", n.path, n.value)
	}
	for _, value := range list {
		all = append(all, node{n.t, n.path, value})
	}
	return all
}

func (n node) want(value any) {
	n.t.Helper()
	if yamlOf(n.value) != yamlOf(value) {
		n.t.Errorf("%s is %v, want %v", n.path, n.value, value)
	}
}

// variables are the settings in an object, with what is interpolated filled in.
func (n node) variables() map[string]string {
	n.t.Helper()
	vars := map[string]string{}
	for name, value := range n.object() {
		text, ok := value.(string)
		if !ok {
			n.t.Errorf("%s.%s is %v, want a string", n.path, name, value)
		}
		vars[name] = regexp.MustCompile(`\$\{CAMBIO_SITE[^}]*\}`).ReplaceAllString(text, "keys.example.com")
	}
	return vars
}

// ofImage are the settings that the image has of itself.
func ofImage(t *testing.T) map[string]string {
	t.Helper()
	vars := map[string]string{}
	for _, pair := range strings.Fields(strings.Join(dockerfile(t, true, "ENV"), " ")) {
		name, value, _ := strings.Cut(pair, "=")
		vars[name] = value
	}
	return vars
}

// settingsOf reads settings as serve does, and fails the test for every mistake and
// for every variable that serve does not know.
func settingsOf(t *testing.T, all ...map[string]string) config.Config {
	t.Helper()
	var serve serveCmd
	parser, err := kong.New(&serve)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{config.EnvMasterKey: true}
	for _, flag := range parser.Model.Flags {
		for _, name := range flag.Envs {
			known[name] = true
		}
	}
	for _, vars := range all {
		for name, value := range vars {
			if strings.HasPrefix(name, "CAMBIO_") && !known[name] {
				t.Errorf("serve knows no %s", name)
			}
			t.Setenv(name, value)
		}
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	cfg, err := serve.Config(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// healthPath fails the test if a server's operations listener has nothing there.
func healthPath(t *testing.T, path string) {
	t.Helper()
	server, err := httpapi.New(httpapi.Config{Issuer: "https://keys.example.com", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	server.Operations().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	if answer.Code != http.StatusOK && answer.Code != http.StatusServiceUnavailable {
		t.Errorf("%s is answered %d", path, answer.Code)
	}
}

// pinned is an image of one version.
var pinned = regexp.MustCompile(`^[a-z0-9./-]+:[0-9][a-z0-9.-]*$`)
