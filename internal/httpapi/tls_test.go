package httpapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cambio-auth/cambio/internal/manage"
)

// overTLS is a world that serves by TLS, and what trusts its certificate.
func overTLS(t *testing.T) (w *world, r *running, trusting *tls.Config) {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil)
	borrowed.Close()
	w = newWorld(t, options{config: func(cfg *setup) {
		cfg.TLS = &tls.Config{Certificates: borrowed.TLS.Certificates}
	}})
	roots := x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	return w, w.run(), &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

func TestExchangesOverBothVersionsOfHTTP(t *testing.T) {
	w, r, trusting := overTLS(t)
	_, key := w.newKey(manage.NewKey{})
	for version, h2 := range map[int]bool{1: false, 2: true} {
		protocols := &http.Protocols{}
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		transport := &http.Transport{TLSClientConfig: trusting.Clone(), Protocols: protocols}
		for _, try := range []struct {
			key  string
			want int
		}{{key, 200}, {"ck_bad", 400}, {strings.Repeat("x", 17<<10), 413}, {key, 200}} {
			req := w.post(form(try.key).Encode())
			req.RequestURI = ""
			req.URL.Scheme, req.URL.Host = "https", strings.TrimPrefix(r.public, "http://")
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.ProtoMajor != version || resp.StatusCode != try.want {
				t.Errorf("%s: %d, want %d: %.200s", resp.Proto, resp.StatusCode, try.want, strings.ReplaceAll(string(body), key, "…"))
			}
		}
		transport.CloseIdleConnections()
	}
}

func TestAConnectionOfHTTP2HasAHundredStreams(t *testing.T) {
	_, r, trusting := overTLS(t)
	trusting.NextProtos = []string{"h2"}
	dialer := tls.Dialer{Config: trusting}
	conn, err := dialer.DialContext(context.Background(), "tcp", strings.TrimPrefix(r.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00") // RFC 9113 §3.4
	if got := streams(t, conn); got != 100 {
		t.Errorf("%d streams", got)
	}
}

// streams reads SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2) of the first frame.
func streams(t *testing.T, conn net.Conn) (most uint32) {
	t.Helper()
	var head [9]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil || head[3] != 4 {
		t.Fatalf("frame %x, %v", head, err)
	}
	settings := make([]byte, int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(conn, settings); err != nil {
		t.Fatal(err)
	}
	for ; len(settings) >= 6; settings = settings[6:] {
		if binary.BigEndian.Uint16(settings) == 3 {
			most = binary.BigEndian.Uint32(settings[2:])
		}
	}
	return most
}

func TestAFloodOfIdleConnectionsOverTLSKeepsNobodyOut(t *testing.T) {
	borrowed := httptest.NewTLSServer(nil)
	borrowed.Close()
	w := newWorld(t, options{config: func(cfg *setup) {
		cfg.TLS = &tls.Config{Certificates: borrowed.TLS.Certificates}
		cfg.MaxConnections = 8
	}})
	r := w.run()
	_, key := w.newKey(manage.NewKey{})
	for range 50 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	transport := borrowed.Client().Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	req := w.post(form(key).Encode())
	req.RequestURI = ""
	req.URL.Scheme, req.URL.Host = "https", strings.TrimPrefix(r.public, "http://")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
