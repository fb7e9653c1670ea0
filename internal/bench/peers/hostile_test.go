package peers

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/cambio-auth/cambio/sdk"
)

// A refusal of ours must hold; what the peers do is theirs to decide, and is only
// told: go test -v -run HostileTokens.
func TestHostileTokens(t *testing.T) {
	var names []string
	var lines []line
	for _, group := range []struct {
		alg  string
		rows []hostile
	}{{"EdDSA", spellings}, {"EdDSA", headers}, {"EdDSA", claims}, {"ES256", ofES256}} {
		iss := start(t, group.alg)
		all := contenders(t, iss, group.alg, 1)
		names = nil
		for _, c := range all {
			names = append(names, c.name)
		}
		for _, row := range group.rows {
			l, raw := line{hostile: row}, row.mint(t, iss)
			for _, c := range all {
				l.errs = append(l.errs, attempt(t, c, raw))
			}
			if !errors.Is(l.errs[0], sdk.ErrRefused) {
				t.Errorf("%s: we say %v, want refused", row.name, l.errs[0])
			}
			lines = append(lines, l)
		}
	}
	t.Log(table(names, lines))
}

// Without this, a row could be refused for how it was made.
func TestHostileTokensAreGoodButForOneThing(t *testing.T) {
	for alg, unchanged := range map[string][]mint{
		"EdDSA": {
			text(func(s string) string { return s }), claim("tenant", 1), in("exp", 300), member("typ", "at+jwt"),
			header(`{`, `{ `), payload(`{`, `{ `), exp(`$1`), signature(func(b []byte) []byte { return b }),
		},
		"ES256": {signature(func(b []byte) []byte { return b })},
	} {
		iss := start(t, alg)
		for _, c := range contenders(t, iss, alg, 1) {
			for i, mint := range unchanged {
				if err := attempt(t, c, mint(t, iss)); err != nil {
					t.Errorf("%s, %s: mint %d: %v", alg, c.name, i, err)
				}
			}
		}
	}
}

var errPanic = errors.New("panic")

// attempt survives a contender who does not.
func attempt(t *testing.T, c contender, raw string) (err error) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	_, err = c.check(t.Context(), raw)
	return err
}

// line is what each contender said to a token.
type line struct {
	hostile
	errs []error
}

// table ends with how often each contender did not refuse.
func table(names []string, lines []line) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n\tforbidden by\t%s\n", strings.Join(names, "\t"))
	byRFC, onlyByUs := make([]int, len(names)), make([]int, len(names))
	for _, l := range lines {
		sum := byRFC
		if l.by == byUs {
			sum = onlyByUs
		}
		fmt.Fprintf(w, "%s\t%s", l.name, l.by)
		for i, err := range l.errs {
			fmt.Fprintf(w, "\t%s", told(err))
			if err == nil || errors.Is(err, errPanic) {
				sum[i]++
			}
		}
		fmt.Fprintln(w)
	}
	for _, sum := range []struct {
		by string
		n  []int
	}{{"an RFC", byRFC}, {byUs, onlyByUs}} {
		fmt.Fprintf(w, "not refused, forbidden by\t%s", sum.by)
		for _, n := range sum.n {
			fmt.Fprintf(w, "\t%d", n)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return text.String()
}

func told(err error) string {
	switch {
	case err == nil:
		return "accepts"
	case errors.Is(err, errPanic):
		return "PANICS"
	}
	return "-"
}
