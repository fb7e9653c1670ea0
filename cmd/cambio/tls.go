package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cambio-auth/cambio/internal/config"
)

// reloaded is read again when its files change. If what they then hold is no good,
// what they held before goes on.
type reloaded[T any] struct {
	what  string // for the log
	files []string
	load  func() (T, error)
	log   *slog.Logger

	mu      sync.Mutex
	current T
	stamps  []stamp
}

// stamp changes when a file does.
type stamp struct {
	modified time.Time
	size     int64
}

// tlsConfig returns nil for plain HTTP. Certificates of clients are asked for and not
// verified: what one proves depends on the client that it is for.
func tlsConfig(cfg config.Config, log *slog.Logger) (*tls.Config, error) {
	if !cfg.TLS() {
		return nil, nil //nolint:nilnil // plain HTTP
	}
	c := &reloaded[*tls.Certificate]{what: "certificate", files: []string{cfg.TLSCert, cfg.TLSKey}, log: log, load: func() (*tls.Certificate, error) {
		loaded, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		return &loaded, err
	}}
	if err := c.read(c.look()); err != nil {
		return nil, fmt.Errorf("CAMBIO_TLS_CERT, CAMBIO_TLS_KEY: %w", err)
	}
	asked := tls.NoClientCert
	if cfg.TLSClientCA != "" || cfg.TLSSelfSigned {
		asked = tls.RequestClientCert
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: asked,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.get(hello.Context()), nil
		},
	}, nil
}

// clientCAs returns nil if no authority names clients.
func clientCAs(cfg config.Config, log *slog.Logger) (func() *x509.CertPool, error) {
	if cfg.TLSClientCA == "" {
		return nil, nil //nolint:nilnil // none
	}
	c := &reloaded[*x509.CertPool]{what: "client authorities", files: []string{cfg.TLSClientCA}, log: log, load: func() (*x509.CertPool, error) {
		text, err := os.ReadFile(cfg.TLSClientCA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, errors.New("holds no certificate in PEM")
		}
		return pool, nil
	}}
	if err := c.read(c.look()); err != nil {
		return nil, fmt.Errorf("CAMBIO_TLS_CLIENT_CA: %w", err)
	}
	return func() *x509.CertPool { return c.get(context.Background()) }, nil
}

// look returns nil if a file cannot be seen.
func (r *reloaded[T]) look() []stamp {
	var all []stamp
	for _, path := range r.files {
		info, err := os.Stat(path)
		if err != nil {
			return nil
		}
		all = append(all, stamp{info.ModTime(), info.Size()})
	}
	return all
}

func (r *reloaded[T]) read(now []stamp) error {
	r.stamps = now
	loaded, err := r.load()
	if err == nil {
		r.current = loaded
	}
	return err
}

// get is called for every handshake, or for every certificate of a client.
func (r *reloaded[T]) get(ctx context.Context) T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.look(); !slices.Equal(now, r.stamps) {
		if err := r.read(now); err != nil {
			r.log.ErrorContext(ctx, "a new file is no good, the old one goes on", "what", r.what, "err", err)
		} else {
			r.log.InfoContext(ctx, "read again", "what", r.what, "file", r.files[0])
		}
	}
	return r.current
}
