package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestTheUnitHasSettingsThatServeTakes(t *testing.T) {
	const unit = "../../deploy/systemd/cambio.service"
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	vars, set := map[string]string{}, map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		set[name] = value
		if name == "Environment" {
			variable, value, _ := strings.Cut(value, "=")
			vars[variable] = strings.ReplaceAll(value, "%d", "/run/credentials/cambio.service")
		}
	}
	cfg := settingsOf(t, vars)
	if key, _, _ := strings.Cut(set["LoadCredential"], ":"); cfg.MasterKeyFile != "/run/credentials/cambio.service/"+key {
		t.Errorf("the master key is handed over as %s, and looked for at %s", key, cfg.MasterKeyFile)
	}
	if want := "sqlite:/var/lib/" + set["StateDirectory"] + "/cambio.db"; cfg.Store != want {
		t.Errorf("the store is %s, want %s", cfg.Store, want)
	}
	if stop, err := time.ParseDuration(set["TimeoutStopSec"] + "s"); err != nil || stop < longestStop {
		t.Errorf("it is given %v to stop: %v", stop, err)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze")
	}
	// 0 to 100, for exposure 0.0 to 10.0.
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=15", unit).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
