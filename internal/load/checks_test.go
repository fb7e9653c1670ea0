package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestChecksOfEveryAlgorithm(t *testing.T) {
	found, err := Checks(t.Context(), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var algs []string
	for _, c := range found {
		algs = append(algs, c.Algorithm)
		if c.Sign <= 0 || c.Verify <= 0 || c.First <= 0 || c.Seen <= 0 {
			t.Errorf("measured %+v", c)
		}
	}
	if got := strings.Join(algs, " "); got != "EdDSA ES256 RS256" {
		t.Errorf("checked %s", got)
	}
}

func TestChecksEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Checks(ctx, time.Hour); err == nil {
		t.Error("they were made")
	}
}

func TestWhatIsMeasuredInTurnsEndsAtTheFirstError(t *testing.T) {
	failure := errors.New("no")
	calls := 0
	_, err := inTurns(t.Context(), time.Hour, func() error {
		if calls++; calls == 3 {
			return failure
		}
		return nil
	})
	if !errors.Is(err, failure) || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// A server that answers whatever the test says, in place of a token.
func answering(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 8<<10))
				_, _ = io.WriteString(c, answer)
				_, _ = io.Copy(io.Discard, c) // until the other side has enough
			}()
		}
	}()
	return l.Addr().String()
}

func TestALoadFailsUnlessEveryAnswerIsAToken(t *testing.T) {
	f, err := NewFixture(1)
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]string{
		"a refusal":               "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}",
		"a good answer, no token": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"no end":                  "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000),
		"no HTTP":                 "hello\r\n\r\n",
	} {
		c, err := dial(t.Context(), answering(t, answer), f, f.All(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.run(t.Context(), 0); err == nil {
			t.Errorf("%s is taken for a token", name)
		}
		c.close()
	}
}

func TestALoadThatGetsNoAnswerEndsWithItsContext(t *testing.T) {
	f, err := NewFixture(1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := dial(ctx, answering(t, ""), f, f.All(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	cancel()
	if _, _, err := c.run(ctx, time.Millisecond); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestAServerEndsWithItsInputAndRefusesGarbage(t *testing.T) {
	for input, good := range map[string]bool{
		`{}`:                      true,
		`{}{}`:                    true,
		``:                        false,
		`nonsense`:                false,
		`{} nonsense`:             false,
		`{"Store":"nowhere"}`:     false,
		`{"Store":"memory"}`:      false, // no master key
		`{"Store":"sqlite:/x/y"}`: false,
	} {
		var out bytes.Buffer
		if err := Serve(strings.NewReader(input), &out); (err == nil) != good {
			t.Errorf("%q: %v", input, err)
		}
	}
}

func TestAThrowawayIsGoneWhenItIsClosed(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "cambio.db")
	thrown, err := OpenThrowaway(t.Context(), "sqlite:"+real)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFixture(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := Plant(t.Context(), thrown.URL, f); err != nil {
		t.Error(err)
	}
	if grants, spent, err := Recorded(t.Context(), thrown.URL, f); grants != 0 || spent != 0 || err != nil {
		t.Errorf("%d grants and %d spent in a new store, %v", grants, spent, err)
	}
	if err := thrown.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
