package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/pgtest"
	"github.com/cambio-auth/cambio/internal/store"
)

func TestOpenTakesThePathOfAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, url := range []string{"sqlite:cambio.db", "sqlite:" + filepath.Join(t.TempDir(), "x.db"), "sqlite://" + filepath.Join(t.TempDir(), "x.db")} {
		s, err := store.Open(t.Context(), url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestOpenTakesADatabaseOfPostgreSQL(t *testing.T) {
	url := pgtest.Database(t, "", nil)
	for _, url := range []string{url, "postgresql" + strings.TrimPrefix(url, "postgres")} {
		s, err := store.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenSaysWhatItTakesAndNeverAPassword(t *testing.T) {
	const accepted = "must be sqlite:PATH"
	for url, want := range map[string]string{
		"":                                    accepted,
		"cambio.db":                           accepted,
		"sqlite":                              accepted,
		"sqlite:":                             accepted,
		"sqlite://hunter2.db":                 accepted,
		"sqlite:file:hunter2.db":              accepted,
		"SQLITE:hunter2.db":                   accepted,
		"mysql://me:hunter2@db/x":             accepted,
		"hunter2 sqlite:x":                    accepted,
		"sqlite::memory:":                     "would forget its keys",
		"postgres:hunter2":                    accepted,
		"postgres://me:hunter2@127.0.0.1:1/x": "the server cannot be reached",
		"postgresql://me:hunter2@[/x":         "the URL cannot be read",
		"postgres://me:hunter2/3@db/x":        "the URL cannot be read",
		"postgres://me:1?hunter2@db/x":        "the URL cannot be read",
		"postgres://me:1#hunter2@db/x":        "the URL cannot be read",
		"postgres://me:1/hunter2@db/x":        "the URL cannot be read",
		"postgres://me:hunter2%zz@db/x":       "the URL cannot be read",
		"postgres://me@db/x?sslmode=hunter2":  "the URL cannot be read",
		"postgres://me@db/x?pool_max_conns=0&password=hunter2": "the URL cannot be read",
	} {
		s, err := store.Open(t.Context(), url)
		if err == nil {
			_ = s.Close()
			t.Errorf("%q was opened", url)
			continue
		}
		if !strings.HasPrefix(err.Error(), "CAMBIO_STORE: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: error is %v, want %q and no password", url, err, want)
		}
	}
}

func TestADatabaseThatMayAnswerLaterIsAway(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{TCP: true})
	url := server.URL("postgres")
	if _, err := store.Open(t.Context(), strings.Replace(url, "/postgres?", "/nowhere?", 1)); err == nil || errors.Is(err, store.ErrAway) {
		t.Errorf("without the database: %v", err)
	}
	server.Stop()
	if _, err := store.Open(t.Context(), url); !errors.Is(err, store.ErrAway) {
		t.Errorf("without a server: %v", err)
	}
	if _, err := store.Open(t.Context(), "sqlite:/"); err == nil || errors.Is(err, store.ErrAway) {
		t.Errorf("a directory: %v", err)
	}
}
