package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/config"
)

func TestComposeRunsReplicasAndAProxyThatTheyTrust(t *testing.T) {
	compose := documents(t, "compose.yaml")[0]
	caddy, err := os.ReadFile("../../deploy/proxy/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	proxy := compose.at("services", "proxy", "networks", "front", "ipv4_address").value.(string)
	for _, name := range []string{"cambio-1", "cambio-2", "cambio-3"} {
		replica := compose.at("services", name)
		cfg := settingsOf(t, ofImage(t), replica.at("environment").variables())
		if len(cfg.TrustedProxies) != 1 || cfg.TrustedProxies[0].String() != proxy+"/32" {
			t.Errorf("%s trusts %v, and the proxy is %s", name, cfg.TrustedProxies, proxy)
		}
		if upstream := name + ":" + portOf(t, cfg.Listen); !strings.Contains(string(caddy), upstream) {
			t.Errorf("the proxy does not know %s", upstream)
		}
		if !strings.Contains(string(caddy), "health_port "+portOf(t, cfg.OpsListen)+"\n") {
			t.Errorf("the proxy does not look at port %s", portOf(t, cfg.OpsListen))
		}
		for _, path := range []string{cfg.MasterKeyFile, strings.TrimPrefix(cfg.Store[strings.Index(cfg.Store, "passfile="):], "passfile=")} {
			secret := strings.TrimPrefix(path, "/run/secrets/")
			if !slices.ContainsFunc(replica.at("secrets").list(), func(n node) bool { return n.value == secret }) {
				t.Errorf("%s has no secret %s", name, secret)
			}
		}
	}
	path := regexp.MustCompile(`health_uri (\S+)`).FindSubmatch(caddy)
	healthPath(t, string(path[1]))
}

func TestComposeConfinesItsServicesAndGivesThemTimeToStop(t *testing.T) {
	compose := documents(t, "compose.yaml")[0]
	for name, value := range compose.at("services").object() {
		service := node{t, "compose.yaml." + name, value}
		service.at("read_only").want(true)
		service.at("cap_drop").want([]string{"ALL"})
		service.at("security_opt").want([]string{"no-new-privileges:true"})
		service.at("restart").want("unless-stopped")
		for _, limit := range []string{"mem_limit", "cpus", "pids_limit"} {
			service.at(limit)
		}
		grace, err := time.ParseDuration(service.at("stop_grace_period").value.(string))
		if err != nil || grace < longestStop {
			t.Errorf("%s is given %v to stop: %v", name, grace, err)
		}
		ours := strings.HasPrefix(name, "cambio-")
		if image := service.at("image").value.(string); !ours && !pinned.MatchString(image) {
			t.Errorf("%s may be any version", image)
		}
		if !ours { // the image has its own
			service.at("healthcheck", "test")
		}
		if mode := service.object()["privileged"]; mode != nil {
			t.Errorf("%s is privileged", name)
		}
		for variable, value := range service.at("environment").variables() {
			if strings.Contains(variable, "PASSWORD") && !strings.HasSuffix(variable, "_FILE") || variable == config.EnvMasterKey || regexp.MustCompile(`//[^/@]*:[^/@]*@`).MatchString(value) {
				t.Errorf("%s holds a secret in %s", name, variable)
			}
		}
	}
	for name := range compose.at("secrets").object() {
		compose.at("secrets", name, "file").want("./secrets/" + name)
	}
	for file, line := range map[string]string{".dockerignore": "secrets", ".gitignore": "/secrets/"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil || !slices.Contains(strings.Split(string(text), "\n"), line) {
			t.Errorf("%s would let the secrets in: %v", file, err)
		}
	}
}
