package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/sdk"
)

// patience bounds every wait of a script. Nothing waits this long unless it has
// failed.
const patience = 30 * time.Second

var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"ready":            cmdReady,
	"field":            cmdField,
	"exchangekey":      cmdExchangeKey,
	"checktoken":       cmdCheckToken,
	"refusedsoon":      cmdRefusedSoon,
	"inflight":         cmdInFlight,
	"cutoff":           cmdCutOff,
	"get":              cmdGet,
	"eventually":       cmdEventually,
	"eventuallylogged": cmdEventuallyLogged,
	"freeport":         cmdFreePort,
	"sigterm":          cmdSigterm,
	"taken":            cmdTaken,
	"exitcode":         cmdExitCode,
	"shows":            cmdShows,
	"refusedkey":       cmdRefusedKey,
	"sql":              cmdSQL,
	"chained":          cmdChained,
	"makekeys":         cmdMakeKeys,
	"verifyas":         cmdVerifyAs,
}

// ready LOG waits until the server that writes LOG is ready, and sets $PUBLIC
// and $OPS to its addresses.
func cmdReady(ts *testscript.TestScript, _ bool, args []string) {
	var line struct{ Msg, Listen, Ops string }
	until(ts, "the server logs its addresses", func() bool {
		text, _ := os.ReadFile(ts.MkAbs(args[0]))
		for one := range strings.Lines(string(text)) {
			if json.Unmarshal([]byte(one), &line) == nil && line.Msg == "serving" {
				return true
			}
		}
		return false
	})
	ts.Setenv("PUBLIC", "http://"+line.Listen)
	ts.Setenv("OPS", "http://"+line.Ops)
	ts.Setenv("CAMBIO_HEALTH", line.Ops) // for cambio health
	until(ts, "/readyz says yes", func() bool {
		status, _ := get("http://"+line.Ops+"/readyz", "")
		return status == http.StatusOK
	})
}

// field VAR FILE NAME sets a variable to a field of the JSON object in FILE, as
// soon as there is one.
func cmdField(ts *testscript.TestScript, _ bool, args []string) {
	object := map[string]any{}
	until(ts, args[1]+" holds JSON", func() bool {
		return json.Unmarshal([]byte(readFile(ts, args[1])), &object) == nil
	})
	value, ok := object[args[2]]
	if !ok {
		ts.Fatalf("%s has no field %s", args[1], args[2])
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// readFile also reads "stdout", and is empty for a file that is not there yet.
func readFile(ts *testscript.TestScript, name string) string {
	if name == "stdout" {
		return ts.ReadFile(name)
	}
	text, _ := os.ReadFile(ts.MkAbs(name))
	return string(text)
}

// readKey takes what key create prints, with --json or without.
func readKey(ts *testscript.TestScript, name string) string {
	text := strings.TrimSpace(readFile(ts, name))
	var made struct{ Key string }
	if json.Unmarshal([]byte(text), &made) == nil {
		return made.Key
	}
	return text
}

// exchangekey KEYFILE AUDIENCE exchanges as $CLIENT_ID with $CLIENT_SECRET. It
// prints the answer and leaves the token in token.txt and in $TOKEN.
func cmdExchangeKey(ts *testscript.TestScript, neg bool, args []string) {
	req := exchangeRequest(ts, args[0], args[1])
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	accept(ts, neg, resp)
}

func exchangeRequest(ts *testscript.TestScript, keyFile, audience string) *http.Request {
	form := url.Values{
		wire.FieldGrantType:        {wire.GrantTokenExchange},
		wire.FieldSubjectTokenType: {wire.TypeAPIKey},
		wire.FieldSubjectToken:     {readKey(ts, keyFile)},
		wire.FieldAudience:         {audience},
	}
	req, err := http.NewRequest(http.MethodPost, ts.Getenv("PUBLIC")+wire.PathToken, strings.NewReader(form.Encode()))
	ts.Check(err)
	req.Header.Set("Content-Type", wire.MediaForm)
	req.SetBasicAuth(ts.Getenv("CLIENT_ID"), ts.Getenv("CLIENT_SECRET"))
	return req
}

func accept(ts *testscript.TestScript, neg bool, resp *http.Response) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	_, _ = fmt.Fprintf(ts.Stdout(), "%d %s", resp.StatusCode, body)
	if granted := resp.StatusCode == http.StatusOK; granted == neg {
		ts.Fatalf("exchange answered %d", resp.StatusCode)
	}
	var answer wire.TokenResponse
	if !neg {
		ts.Check(json.Unmarshal(body, &answer))
		ts.Check(os.WriteFile(ts.MkAbs("token.txt"), []byte(answer.AccessToken), 0o600))
		ts.Setenv("TOKEN", answer.AccessToken)
	}
}

// newChecker asks the server at $PUBLIC. $ISSUER is the issuer if it is another.
func newChecker(ts *testscript.TestScript, audience string) *sdk.Checker {
	cfg := sdk.CheckerConfig{Issuer: ts.Getenv("PUBLIC"), Audience: audience}
	if iss := ts.Getenv("ISSUER"); iss != "" {
		public := strings.TrimPrefix(ts.Getenv("PUBLIC"), "http://")
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, public)
		}
		cfg.Issuer, cfg.HTTPClient = iss, &http.Client{Transport: &http.Transport{DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true}}
	}
	checker, err := sdk.NewChecker(cfg)
	ts.Check(err)
	return checker
}

// refusedsoon FILE AUDIENCE waits until a backend refuses a token.
func cmdRefusedSoon(ts *testscript.TestScript, _ bool, args []string) {
	checker, token := newChecker(ts, args[1]), readFile(ts, args[0])
	until(ts, "the token is refused", func() bool {
		_, err := checker.Check(context.Background(), token)
		return errors.Is(err, sdk.ErrRefused)
	})
}

// checktoken FILE AUDIENCE checks as a backend does, and prints what the token
// says.
func cmdCheckToken(ts *testscript.TestScript, neg bool, args []string) {
	checker := newChecker(ts, args[1])
	token, err := checker.Check(context.Background(), readFile(ts, args[0]))
	if (err == nil) == neg {
		ts.Fatalf("checking the token: %v", err)
	}
	if err == nil {
		_, _ = fmt.Fprintf(ts.Stdout(), "sub=%s client=%s key=%s scope=%q lifetime=%s\n",
			token.Subject(), token.ClientID(), token.KeyID(), token.Scope(), token.ExpiresAt().Sub(token.IssuedAt()))
	}
}

// inflight KEYFILE AUDIENCE begins an exchange, tells the server to stop, waits
// until it takes no more, and only then sends the rest.
func cmdInFlight(ts *testscript.TestScript, neg bool, args []string) {
	conn, answers, body := halfExchange(ts, args[0], args[1])
	defer conn.Close()
	stopAccepting(ts, conn)
	_, err := conn.Write(body)
	ts.Check(err)
	resp, err := http.ReadResponse(answers, nil)
	ts.Check(err)
	accept(ts, neg, resp)
}

// cutoff KEYFILE AUDIENCE does the same, but sends nothing more and repeats the
// signal. The server must end although an exchange is under way.
func cmdCutOff(ts *testscript.TestScript, _ bool, args []string) {
	conn, answers, _ := halfExchange(ts, args[0], args[1])
	defer conn.Close()
	stopAccepting(ts, conn)
	server := ts.BackgroundCmds()[0].Process
	until(ts, "the server ends", func() bool {
		_ = server.Signal(syscall.SIGTERM) // it may be gone
		ts.Check(conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)))
		line, err := answers.ReadString('\n')
		if err == nil {
			ts.Fatalf("the server answered %s", line)
		}
		return !errors.Is(err, os.ErrDeadlineExceeded)
	})
}

// halfExchange sends the head of an exchange, and returns when the server is
// reading the body.
func halfExchange(ts *testscript.TestScript, keyFile, audience string) (net.Conn, *bufio.Reader, []byte) {
	req := exchangeRequest(ts, keyFile, audience)
	body, err := io.ReadAll(req.Body)
	ts.Check(err)
	conn, err := net.Dial("tcp", req.URL.Host)
	ts.Check(err)
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		wire.PathToken, req.URL.Host, req.Header.Get("Authorization"), wire.MediaForm, len(body))
	ts.Check(err)
	answers := bufio.NewReader(conn)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		line, err := answers.ReadString('\n')
		ts.Check(err)
		if line != want {
			ts.Fatalf("the server said %q, want %q", line, want)
		}
	}
	return conn, answers, body
}

// stopAccepting sends SIGTERM and waits for what it does first.
func stopAccepting(ts *testscript.TestScript, conn net.Conn) {
	cmdSigterm(ts, false, nil)
	until(ts, "the server takes no more connections", func() bool {
		probe, err := net.Dial("tcp", conn.RemoteAddr().String())
		if err == nil {
			probe.Close()
		}
		return err != nil
	})
}

// get URL STATUS [CREDENTIAL] asks as "Authorization: Bearer", and prints the body.
func cmdGet(ts *testscript.TestScript, _ bool, args []string) {
	credential := append(args, "")[2]
	status, body := get(args[0], credential)
	_, _ = io.WriteString(ts.Stdout(), body)
	if fmt.Sprint(status) != args[1] {
		ts.Fatalf("status %d, want %s", status, args[1])
	}
}

// eventually URL STATUS [CREDENTIAL] asks until the answer is STATUS.
func cmdEventually(ts *testscript.TestScript, _ bool, args []string) {
	credential := append(args, "")[2]
	until(ts, args[0]+" answers "+args[1], func() bool {
		status, _ := get(args[0], credential)
		return fmt.Sprint(status) == args[1]
	})
}

// eventuallylogged FILE PATTERN waits for a line that matches.
func cmdEventuallyLogged(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	until(ts, args[0]+" holds "+args[1], func() bool { return pattern.MatchString(readFile(ts, args[0])) })
}

// freeport VAR sets a variable to an address that was free a moment ago.
func cmdFreePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

func get(url, credential string) (int, string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// sigterm asks the process in the background to end.
func cmdSigterm(ts *testscript.TestScript, _ bool, _ []string) {
	running := ts.BackgroundCmds()
	if len(running) != 1 {
		ts.Fatalf("%d processes in the background, want one", len(running))
	}
	ts.Check(running[0].Process.Signal(syscall.SIGTERM))
}

// taken VAR listens until the script ends, and sets a variable to the address.
func cmdTaken(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// exitcode CODE COMMAND… runs a command that must exit with CODE.
func cmdExitCode(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// shows FILE TEXT waits until FILE holds TEXT.
func cmdShows(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, args[0]+" shows "+args[1], func() bool { return strings.Contains(readFile(ts, args[0]), args[1]) })
}

// until fails the script if done does not become true.
func until(ts *testscript.TestScript, what string, done func() bool) {
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			ts.Fatalf("gave up waiting until %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
