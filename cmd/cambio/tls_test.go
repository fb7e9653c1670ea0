package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/internal/config"
)

// writeCertificate writes one with a serial number to be told by, at a time that
// differs from the one before.
func writeCertificate(t *testing.T, cfg config.Config, serial int64) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cfg.TLSCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), serial)
	write(t, cfg.TLSKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), serial)
}

func write(t *testing.T, path string, text []byte, serial int64) {
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_800_000_000+serial, 0)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Config{TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem")}
	writeCertificate(t, cfg, 1)
	server, err := tlsConfig(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	served := func(want int64) {
		t.Helper()
		cert, err := server.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if got := cert.Leaf.SerialNumber.Int64(); got != want {
			t.Errorf("certificate %d is served, want %d", got, want)
		}
	}
	served(1)

	writeCertificate(t, cfg, 2)
	served(2) // a new one is read without a restart

	write(t, cfg.TLSKey, []byte("half writ"), 3)
	served(2) // a broken one leaves the old in service

	if err := os.Remove(cfg.TLSCert); err != nil {
		t.Fatal(err)
	}
	served(2) // so does one that is away for a moment

	writeCertificate(t, cfg, 4)
	served(4)
}

func TestClientAuthorities(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Config{TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem"), TLSClientCA: filepath.Join(dir, "ca.pem")}
	authority := func(serial int64) *x509.Certificate {
		t.Helper()
		writeCertificate(t, cfg, serial)
		text, err := os.ReadFile(cfg.TLSCert)
		if err != nil {
			t.Fatal(err)
		}
		write(t, cfg.TLSClientCA, text, serial)
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := authority(1)
	pool, err := clientCAs(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	is := func(want *x509.Certificate) {
		t.Helper()
		only := x509.NewCertPool()
		only.AddCert(want)
		if !pool().Equal(only) {
			t.Error("another authority is believed")
		}
	}
	is(first)
	second := authority(2)
	is(second) // the first is believed no more, without a restart
	write(t, cfg.TLSClientCA, []byte("half writ"), 3)
	is(second)
	if err := os.Remove(cfg.TLSClientCA); err != nil {
		t.Fatal(err)
	}
	is(second)
	if _, err := clientCAs(cfg, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a server starts without its authorities")
	}
}

func TestCertificatesAreAskedForOnlyIfSetUp(t *testing.T) {
	dir := t.TempDir()
	plain := config.Config{TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem")}
	writeCertificate(t, plain, 1)
	withCA, selfSigned := plain, plain
	withCA.TLSClientCA, selfSigned.TLSSelfSigned = plain.TLSCert, true
	for want, cfgs := range map[tls.ClientAuthType][]config.Config{tls.NoClientCert: {plain}, tls.RequestClientCert: {withCA, selfSigned}} {
		for _, cfg := range cfgs {
			server, err := tlsConfig(cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if server.ClientAuth != want || server.ClientCAs != nil {
				t.Errorf("%+v: %v", cfg, server.ClientAuth)
			}
		}
	}
}
