package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/config"
)

// certificate is read again when its files change. If what they then hold is no
// good, the certificate before it goes on.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   stamp
}

// stamp changes when one of the files does.
type stamp [2]struct {
	modified time.Time
	size     int64
}

// tlsConfig returns nil for plain HTTP.
func tlsConfig(cfg config.Config, log *slog.Logger) (*tls.Config, error) {
	if !cfg.TLS() {
		return nil, nil //nolint:nilnil // plain HTTP
	}
	c := &certificate{cert: cfg.TLSCert, key: cfg.TLSKey, log: log}
	if err := c.read(c.look()); err != nil {
		return nil, fmt.Errorf("CAMBIO_TLS_CERT, CAMBIO_TLS_KEY: %w", err)
	}
	return &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}, nil
}

// look returns the zero stamp if a file cannot be seen.
func (c *certificate) look() stamp {
	var s stamp
	for i, path := range []string{c.cert, c.key} {
		info, err := os.Stat(path)
		if err != nil {
			return stamp{}
		}
		s[i].modified, s[i].size = info.ModTime(), info.Size()
	}
	return s
}

func (c *certificate) read(now stamp) error {
	c.stamp = now
	loaded, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err == nil {
		c.current = &loaded
	}
	return err
}

// get is called for every handshake.
func (c *certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.look(); now != c.stamp {
		ctx := hello.Context()
		if err := c.read(now); err != nil {
			c.log.ErrorContext(ctx, "new certificate is no good, the old one goes on", "err", err)
		} else {
			c.log.InfoContext(ctx, "certificate read", "file", c.cert)
		}
	}
	return c.current, nil
}
