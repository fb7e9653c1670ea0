package sdk_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// exchangingBy sends exchanges by post, all else to the issuer.
func exchangingBy(iss *sdktest.Issuer, post http.RoundTripper) *http.Client {
	return newWire(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			return post.RoundTrip(r)
		}
		return served(iss)(r)
	}).client()
}

// echo listens on loopback, and answers a request with what reply makes of it,
// then hangs up.
func echo(t *testing.T, reply func(head, body string) string) *http.Transport {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				body, _ := io.ReadAll(r.Body)
				_, _ = io.WriteString(conn, reply(r.Header.Get("Authorization"), string(body)))
			}
			_ = conn.Close()
		}
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func TestAnAnswerThatIsNoHTTPIsNotQuoted(t *testing.T) {
	iss := start(t)
	const ok = "HTTP/1.1 200 OK\r\n"
	token := iss.Token(billing)
	for name, reply := range map[string]func(head, body string) string{
		"the request instead of a status line": func(_, body string) string { return body + "\r\n\r\n" },
		"our credentials as a status line":     func(head, _ string) string { return head + "\r\n\r\n" },
		"the request as a header":              func(_, body string) string { return ok + body + "\r\n\r\n" },
		"the credentials as a header":          func(head, _ string) string { return ok + head + "\r\n\r\n" },
		"the token as a header":                func(_, _ string) string { return ok + `{"access_token":"` + token + "\"}\r\n\r\n" },
		"the request as a place to go": func(_, body string) string {
			return "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://[" + body + "\r\nContent-Length: 0\r\n\r\n"
		},
		"the request as a length": func(_, body string) string { return ok + "Content-Length: " + body + "\r\n\r\n" },
		"the request as an encoding": func(_, body string) string {
			return ok + "Transfer-Encoding: " + body + "\r\n\r\n"
		},
		"the token as a length of a chunk": func(_, _ string) string {
			return ok + "Transfer-Encoding: chunked\r\n\r\n" + token + "\r\n"
		},
		"less than was announced": func(_, body string) string { return ok + "Content-Length: 5000\r\n\r\n" + body },
		"nothing":                 func(_, _ string) string { return "" },
	} {
		for _, key := range []string{iss.AddKey(sdktest.Key{}), `imported"\key"with\quotes&more=%20`} {
			t.Run(name, func(t *testing.T) {
				var credentials string
				config := iss.ClientConfig(billing)
				config.HTTPClient = exchangingBy(iss, echo(t, func(head, body string) string {
					credentials = strings.TrimPrefix(head, "Basic ")
					return reply(head, body)
				}))
				_, err := newClient(t, config).VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: key})
				wantUnavailable(t, err)
				wantNoSecret(t, err, key, url.QueryEscape(key), token, credentials)
			})
		}
	}
}

func TestTheCauseOfAFailedConnectionIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"refused":                   {&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, "dial tcp: connection refused"},
		"cut":                       {io.EOF, "unexpected EOF"},
		"by the caller's transport": {errors.New("the circuit is open"), "the circuit is open"},
		"late":                      {context.DeadlineExceeded, "deadline exceeded"},
		"no TLS":                    {http.ErrSchemeMismatch, "server gave HTTP response to HTTPS client"},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(func(*http.Request) (*http.Response, error) { return nil, c.err })
				err := d.verify(t)
				wantUnavailable(t, err)
				if !strings.Contains(err.Error(), c.want) {
					t.Fatalf("got %v", err)
				}
			})
		})
	}
}

func TestWhatACallersTransportQuotesIsNotTold(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		for _, key := range []string{"imported-key-with-dashes", `imported"\key"with\quotes`, "imported&key=with+escapes"} {
			for _, quoted := range []string{key, fmt.Sprintf("%q", key), url.QueryEscape(key)} {
				d.exchanges.set(func(*http.Request) (*http.Response, error) { return nil, errors.New("sending " + quoted) })
				err := d.verifyKey(t, key)
				wantUnavailable(t, err)
				wantNoSecret(t, err, key, quoted, strings.ReplaceAll(key, `\`, ""))
				time.Sleep(time.Minute)
			}
		}
	})
}

func TestAConnectionThatBreaksMayHaveBeenCharged(t *testing.T) {
	for name, err := range map[string]error{
		"reset":         &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")},
		"broken pipe":   &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")},
		"a late alert":  &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")},
		"anything else": errors.New("oops"),
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(func(*http.Request) (*http.Response, error) { return nil, err })
				for i, pause := range pauses {
					wantRetryAfter(t, d.verify(t), pause*time.Second)
					d.wantExchanges(t, i+1)
					time.Sleep(pause * time.Second)
				}
			})
		})
	}
}

func TestAConnectionThatIsNotTrustedChargedNothing(t *testing.T) {
	for name, err := range map[string]error{
		"a certificate of somebody else": &tls.CertificateVerificationError{Err: errors.New("x509: signed by unknown authority")},
		"no TLS":                         http.ErrSchemeMismatch,
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(func(*http.Request) (*http.Response, error) { return nil, err })
				for i := range 5 {
					wantRetryAfter(t, d.verify(t), time.Second)
					d.wantExchanges(t, i+1) // nor is it tried again at once
					time.Sleep(time.Second)
				}
			})
		})
	}
}

func TestAnIssuerThatIsNotReachedIsTriedAgain(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	dials := func(*http.Request) (*http.Response, error) {
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", closed.Addr().String())
		}}
		r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/", nil)
		if err != nil {
			return nil, err
		}
		return transport.RoundTrip(r)
	}
	t.Run("for a moment, within the call", func(t *testing.T) {
		atDesk(t, func(t *testing.T, d *desk) {
			failures := 2
			d.exchanges.set(func(r *http.Request) (*http.Response, error) {
				if failures--; failures >= 0 {
					return dials(r)
				}
				return served(d)(r)
			})
			began := time.Now()
			wantAccepted(t, d.verify(t))
			if took := time.Since(began); took != 300*time.Millisecond {
				t.Fatalf("took %v", took)
			}
			d.wantExchanges(t, 3)
		})
	})
	t.Run("after an outage, within a second", func(t *testing.T) {
		atDesk(t, func(t *testing.T, d *desk) {
			d.exchanges.set(dials)
			for range 100 {
				wantRetryAfter(t, d.verify(t), time.Second)
				time.Sleep(time.Second)
			}
			d.wantExchanges(t, 300)
			d.exchanges.set(served(d))
			wantAccepted(t, d.verify(t))
		})
	})
}

func TestAnIssuerThatCannotBeTrustedIsSentNothing(t *testing.T) {
	iss := start(t)
	impostor := httptest.NewUnstartedServer(iss)
	impostor.Config.ErrorLog = log.New(io.Discard, "", 0)
	impostor.StartTLS()
	defer impostor.Close()
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{ServerName: "keys.example.com"}}).DialContext(ctx, "tcp", impostor.Listener.Addr().String())
		},
	}
	config := iss.ClientConfig(billing)
	config.TokenURL = "https://keys.example.com/oauth2/token"
	config.HTTPClient = exchangingBy(iss, transport)
	client := newClient(t, config)
	for range 5 {
		_, err := client.VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: "ck_1"})
		wantUnavailable(t, err)
		if !strings.Contains(err.Error(), "certificate") {
			t.Fatalf("got %v", err)
		}
	}
	if n := iss.Exchanges(); n != 0 {
		t.Fatalf("%d exchanges", n)
	}
}

func TestARedirectIsNeverFollowedWithCredentials(t *testing.T) {
	for _, status := range []int{300, 301, 302, 303, 305, 307, 308} {
		for _, where := range []string{"https://elsewhere.example.com/", "/oauth2/token", "/other", "//elsewhere.example.com", "?again"} {
			t.Run(fmt.Sprint(status, " ", where), func(t *testing.T) {
				iss := startAtNoon(t)
				posts := 0
				w := newWire(func(r *http.Request) (*http.Response, error) {
					if r.URL.Path == "/.well-known/jwks.json" {
						return served(iss)(r)
					}
					posts++
					return says(status, "", "Location", where)(r)
				})
				config := iss.ClientConfig(billing)
				config.HTTPClient = &http.Client{Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error { return nil }} // which would follow
				_, err := newClient(t, config).VerifyAPIKey(t.Context(), sdk.VerifyRequest{Key: "ck_1"})
				wantUnavailable(t, err)
				if posts != 1 || w.count() != 2 {
					t.Fatalf("%d requests, of which %d are not for the key set", w.count(), posts)
				}
				if w.header(0).Get("Authorization") != "" || w.header(1).Get("Authorization") == "" {
					t.Fatal("the credentials belong to the exchange alone")
				}
				if config.HTTPClient.CheckRedirect == nil {
					t.Fatal("the caller's own client was changed")
				}
			})
		}
	}
}

func TestTheCallersClientSetsTheTimeout(t *testing.T) {
	atDeskWith(t, func(config *sdk.ClientConfig) { config.HTTPClient.Timeout = 300 * time.Millisecond }, func(t *testing.T, d *desk) {
		d.exchanges.set(hangs)
		began := time.Now()
		err := d.verify(t)
		wantUnavailable(t, err)
		if took := time.Since(began); took != 300*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("took %v: %v", took, err)
		}
	})
}

// trickle is a body that comes a byte a second.
type trickle struct{ ctx context.Context }

func (b trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (trickle) Close() error { return nil }

func TestABodyThatComesSlowlyIsGivenUpAfterFiveSeconds(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(func(r *http.Request) (*http.Response, error) {
			resp, err := says(200, "")(r)
			resp.Body = trickle{r.Context()}
			return resp, err
		})
		began := time.Now()
		wantRetryAfter(t, d.verify(t), time.Second)
		if took := time.Since(began); took != 5*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

func TestNoAttemptBeginsThatItsDeadlineCouldCut(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		busy := oauthError(503, "temporarily_unavailable", "unavailable", "Retry-After", "1")
		d.exchanges.set(after(time.Second, busy))
		began := time.Now()
		wantRetryAfter(t, d.verify(t), time.Second) // nothing was charged: no longer pause
		if took := time.Since(began); took != 3*time.Second {
			t.Fatalf("took %v", took)
		}
		d.wantExchanges(t, 2) // a third would have had one second
	})
}

func TestAnExchangeWhoseGoroutineIsEndedLandsAllTheSame(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.exchanges.set(func(*http.Request) (*http.Response, error) {
			runtime.Goexit() // as t.FailNow in somebody's transport does
			return nil, nil
		})
		for _, err := range together(3, func(int) error { return d.verify(t) }) {
			wantRetryAfter(t, err, time.Second)
		}
		d.exchanges.set(served(d))
		time.Sleep(time.Second)
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 2)
	})
}

func TestEveryKeyArrivesAsItIs(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		for _, key := range []string{`a&b=c+d%20e`, `"quoted\"`, "SG.x.y", strings.Repeat("~", 512), "<key>;/?:@,#{}|^`'"} {
			d.AddKey(sdktest.Key{Key: key})
			wantAccepted(t, d.verifyKey(t, key))
		}
	})
}
