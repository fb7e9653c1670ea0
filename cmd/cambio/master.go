package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cambio-auth/cambio/internal/config"
	"github.com/cambio-auth/cambio/issuer"
)

// openKeyring opens the signing keys with the master key of cfg. On SQLite with
// none set that is cambio.key beside the database, made here for a new store.
func openKeyring(ctx context.Context, cfg config.Config, keys issuer.KeyStore, log *slog.Logger) (*issuer.Keyring, error) {
	master, from, err := masterKey(ctx, cfg, keys, log)
	if err != nil {
		return nil, err
	}
	ring, err := issuer.OpenKeyring(ctx, issuer.KeyringConfig{
		Store: keys, MasterKey: master, Algorithms: cfg.SigningAlgs, Period: cfg.SigningPeriod, Log: log,
	})
	if errors.Is(err, issuer.ErrSealed) {
		return nil, fmt.Errorf("%s: this is not the master key of this store: %w", from, err)
	}
	return ring, err
}

// masterKey returns the key, and where it is from.
func masterKey(ctx context.Context, cfg config.Config, keys issuer.KeyStore, log *slog.Logger) (issuer.MasterKey, string, error) {
	if cfg.MasterKey != nil {
		return *cfg.MasterKey, config.EnvMasterKey, nil
	}
	path, given := masterKeyPath(cfg)
	from := "CAMBIO_MASTER_KEY_FILE: " + path
	key, err := readMasterKey(path)
	switch {
	case !errors.Is(err, fs.ErrNotExist):
	case given:
		err = errors.New("there is no such file; cambio master-key --out FILE makes a new one, for a new store")
	default:
		key, err = firstMasterKey(ctx, path, keys, log)
	}
	if err != nil {
		return issuer.MasterKey{}, "", fmt.Errorf("%s: %w", from, err)
	}
	return key, from, nil
}

// masterKeyPath is where the key is that is not in the environment, and whether that
// place was said.
func masterKeyPath(cfg config.Config) (path string, given bool) {
	if cfg.MasterKeyFile != "" {
		return cfg.MasterKeyFile, true
	}
	database, _ := sqlitePath(cfg.Store) // config lets no other store go without a key
	return filepath.Join(filepath.Dir(database), "cambio.key"), false
}

// firstMasterKey makes a master key at path, unless the store holds keys that
// were sealed with another.
func firstMasterKey(ctx context.Context, path string, keys issuer.KeyStore, log *slog.Logger) (issuer.MasterKey, error) {
	sealed, _, err := keys.SigningKeys(ctx)
	if err != nil {
		return issuer.MasterKey{}, err
	}
	if len(sealed) > 0 {
		return issuer.MasterKey{}, errors.New("the file is missing, and the signing keys in the store open with no other master key; put it back from a backup, or name it with CAMBIO_MASTER_KEY_FILE")
	}
	key := issuer.NewMasterKey()
	err = writeMasterKey(path, key)
	if errors.Is(err, fs.ErrExist) { // another server was first
		return readMasterKey(path)
	}
	if err != nil {
		return issuer.MasterKey{}, err
	}
	log.WarnContext(ctx, "made a master key; keep a copy of it apart from the database, whose signing keys open with nothing else", "file", path)
	return key, nil
}

// othersMay is what the mode of a file with a secret must not allow: anything to
// others than its owner. Where that is not us, as with the secrets that Kubernetes and
// systemd hand to a service, we are let in by the group, so that may read.
func othersMay(info fs.FileInfo) fs.FileMode {
	if ours(info) {
		return 0o077
	}
	return 0o037
}

func readMasterKey(path string) (issuer.MasterKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return issuer.MasterKey{}, err
	}
	if mode := info.Mode().Perm(); mode&othersMay(info) != 0 {
		return issuer.MasterKey{}, fmt.Errorf("its mode is %04o, so others may read it; chmod 600 it", mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return issuer.MasterKey{}, err
	}
	return issuer.ParseMasterKey(string(text))
}

// writeMasterKey never overwrites: the keys in a store open with one master key
// only. What it returned nil for is on the disk.
func writeMasterKey(path string, key issuer.MasterKey) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, key.Reveal())
	err = errors.Join(err, file.Sync(), file.Close(), syncDir(filepath.Dir(path)))
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
