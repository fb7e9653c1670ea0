package main

import (
	"bytes"
	"log/slog"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/internal/store"
	"github.com/cambio-auth/cambio/verifier"
)

func openStore(t *testing.T) (store.Store, config.Config) {
	cfg := config.Config{Store: "sqlite:" + filepath.Join(t.TempDir(), "cambio.db")}
	db, err := store.Open(t.Context(), cfg.Store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, cfg
}

func TestWelcome(t *testing.T) {
	t.Run("a terminal is shown the secret of a first client, once", func(t *testing.T) {
		db, cfg := openStore(t)
		var shown, logged bytes.Buffer
		p := process{stdout: &shown, terminal: true}
		log := slog.New(slog.NewTextHandler(&logged, nil))
		if err := welcome(t.Context(), p, cfg, db, log); err != nil {
			t.Fatal(err)
		}
		secret := regexp.MustCompile(`cs_[0-9A-Za-z]{38}`).FindString(shown.String())
		admin, err := db.Client(t.Context(), "admin")
		if err != nil || admin == nil {
			t.Fatalf("no admin: %v", err)
		}
		if !admin.Authenticate(verifier.NewSecret(secret)) {
			t.Error("the secret shown is not the client's")
		}
		if len(admin.Rights) != len(client.Rights()) || !admin.Allowance().AllKeyspaces || !givesAnyAudience(admin) {
			t.Errorf("the first client may only do %v in %v, for %v", admin.Rights, admin.Keyspaces, admin.Audiences)
		}

		shown.Reset()
		if err := welcome(t.Context(), p, cfg, db, log); err != nil {
			t.Fatal(err)
		}
		if shown.Len()+logged.Len() > 0 {
			t.Errorf("a second start said %s%s", shown.String(), logged.String())
		}
	})
	t.Run("elsewhere the command is logged, and makes that client", func(t *testing.T) {
		db, cfg := openStore(t)
		var logged bytes.Buffer
		if err := welcome(t.Context(), process{}, cfg, db, slog.New(slog.NewTextHandler(&logged, nil))); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(logged.String(), "cambio client create admin") {
			t.Errorf("logged %s", logged.String())
		}
		if clients, err := db.Clients(t.Context()); err != nil || len(clients) > 0 {
			t.Errorf("clients %v, %v", clients, err)
		}
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", adminCommand(cfg.Store)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		admin, err := db.Client(t.Context(), "admin")
		if err != nil || admin == nil || len(admin.Rights) != len(client.Rights()) || !admin.Allowance().AllKeyspaces || !givesAnyAudience(admin) {
			t.Errorf("the command made %+v, %v", admin, err)
		}
	})
}

// givesAnyAudience reports whether c may give any to clients that it makes, and itself
// exchange for none.
func givesAnyAudience(c *client.Client) bool {
	return slices.Contains(c.Audiences, client.AnyAudience) && len(c.Allowance().Audiences) == 0
}

func TestQuote(t *testing.T) {
	for _, word := range []string{"plain", "", "a b", "it's", "$HOME", "sqlite:/tmp/x y/'z'.db", "*", "a\\b", "`id`"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("a shell reads %s as %q, want %q (%v)", quote(word), out, word, err)
		}
	}
}
