package failures_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cambio-auth/cambio/internal/failures"
	"github.com/cambio-auth/cambio/verifier"
)

// office is a Limiter in a bubble of virtual time, with its log.
type office struct {
	*failures.Limiter
	t    *testing.T
	logs lockedBuffer
	next int
}

func in(t *testing.T, limit string, do func(o *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t}
		var rate verifier.Rate
		if limit != "" {
			var err error
			if rate, err = verifier.ParseRate(limit); err != nil {
				t.Fatal(err)
			}
		}
		plain := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		var err error
		o.Limiter, err = failures.New(failures.Config{
			Limit: rate, Log: slog.New(slog.NewTextHandler(&o.logs, &slog.HandlerOptions{ReplaceAttr: plain})),
		})
		if err != nil {
			t.Fatal(err)
		}
		do(o)
	})
}

// lockedBuffer is written by Run too.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *lockedBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Reset()
}

var stranger = failures.SubjectOf("", "192.0.2.1")

// another is an attempt that nobody made before.
func (o *office) another() failures.Attempt {
	o.next++
	return failures.AttemptOf(fmt.Sprint(o.next))
}

// fail fails n times as s, and returns how often that was within the limit.
func (o *office) fail(s failures.Subject, n int) (within int) {
	for range n {
		if o.Failed(s, o.another()) == 0 {
			within++
		}
	}
	return within
}

func (o *office) want(got, want any) {
	o.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		o.t.Error(diff)
	}
}

func TestASubjectMayFailAsOftenAsTheLimitSays(t *testing.T) {
	in(t, "", func(o *office) { o.want(o.fail(stranger, 100), 60) }) // the default is 60 in a minute
	in(t, "10/1h", func(o *office) { o.want(o.fail(stranger, 100), 10) })
	in(t, "10/1h,3", func(o *office) { o.want(o.fail(stranger, 100), 3) })
	in(t, "1/1h", func(o *office) { o.want(o.fail(stranger, 100), 1) })
}

func TestSubjectsAreCountedApart(t *testing.T) {
	in(t, "3/1m", func(o *office) {
		for _, s := range []failures.Subject{
			stranger, failures.SubjectOf("", "192.0.2.2"), failures.SubjectOf("a", "192.0.2.1"), failures.SubjectOf("b", "192.0.2.1"),
			failures.SubjectOf("a", "192.0.2.2"), failures.SubjectOf("", "2001:db8::1"), failures.SubjectOf("", "2001:db8:0:1::1"), {},
		} {
			o.want(o.fail(s, 10), 3)
		}
	})
}

func TestASubjectIsANetworkThatOneHostCanHave(t *testing.T) {
	same := [][2]string{
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"}, {"::ffff:192.0.2.1", "192.0.2.1"}, {"fe80::1%eth0", "fe80::2%eth1"},
		{"nonsense", ""},
	}
	for _, pair := range same {
		if a, b := failures.SubjectOf("c", pair[0]), failures.SubjectOf("c", pair[1]); a != b {
			t.Errorf("%v and %v", a, b)
		}
	}
	if failures.SubjectOf("", "192.0.2.1") == failures.SubjectOf("", "192.0.2.2") {
		t.Error("addresses of version 4 are one")
	}
}

func TestWhatIsTriedAgainWithinAMinuteCountsOnce(t *testing.T) {
	in(t, "3/24h", func(o *office) {
		key := o.another()
		for range 100 {
			o.want(o.Failed(stranger, key), time.Duration(0))
		}
		o.want(o.Failed(failures.SubjectOf("", "192.0.2.2"), key), time.Duration(0)) // and is another's own
		time.Sleep(time.Minute - 1)
		o.want(o.Failed(stranger, key), time.Duration(0))
		time.Sleep(time.Nanosecond)
		o.want(o.Failed(stranger, key), time.Duration(0)) // counts again
		o.want(o.fail(stranger, 10), 1)
		if o.Failed(stranger, key) == 0 {
			o.t.Error("over the limit, what was tried before has another answer than the rest")
		}
	})
}

func TestASubjectIsBackWhenHalfOfTheLimitIsFree(t *testing.T) {
	in(t, "60/1m", func(o *office) {
		o.fail(stranger, 60)
		for range 30 { // failing all the time does not put it off
			wait := o.Failed(stranger, o.another())
			if wait <= 0 || wait > 30*time.Second+time.Microsecond {
				o.t.Fatalf("wait %v", wait)
			}
			time.Sleep(time.Second - time.Millisecond)
		}
		wait := o.Failed(stranger, o.another())
		if wait <= 0 || wait > 31*time.Millisecond {
			o.t.Fatalf("wait %v", wait)
		}
		time.Sleep(wait)
		o.want(o.fail(stranger, 60), 30)
	})
}

func TestWhatWaitSaysIsEnough(t *testing.T) {
	for _, limit := range []string{"60/1m", "7/1m", "1/1h", "3/1s", "900/1s", "100/1m,1", "9/7h,2"} {
		in(t, limit, func(o *office) {
			for range 20 {
				var wait time.Duration
				for wait == 0 {
					wait = o.Failed(stranger, o.another())
				}
				time.Sleep(wait)
				if wait := o.Failed(stranger, o.another()); wait != 0 {
					o.t.Fatalf("%s: %v more", limit, wait)
				}
			}
		})
	}
}

func TestALineWhenASubjectGoesOverAndOneWhenItIsBack(t *testing.T) {
	in(t, "60/1m", func(o *office) {
		ctx, stop := context.WithCancel(o.t.Context())
		var run sync.WaitGroup
		run.Go(func() { o.Run(ctx) })
		client := failures.SubjectOf("orders", "2001:db8::1")
		o.fail(client, 75)
		o.Hold(client)
		went := "level=WARN msg=\"too many attempts failed\" from=2001:db8::/64 limit=60/1m client=orders\n"
		o.want(o.logs.String(), went)
		time.Sleep(40 * time.Second) // and never comes again
		synctest.Wait()
		back := "level=INFO msg=\"attempts are told apart again\" from=2001:db8::/64 refused=16 client=orders\n"
		o.want(o.logs.String(), went+back)

		o.logs.Reset()
		o.fail(stranger, 61)
		stop()
		run.Wait()
		o.want(o.logs.String(), "level=WARN msg=\"too many attempts failed\" from=192.0.2.1 limit=60/1m\n"+
			"level=INFO msg=\"attempts are told apart again\" from=192.0.2.1 refused=1\n")
	})
}

func TestUnderALongAttackTheLinesStayFew(t *testing.T) {
	in(t, "60/1m", func(o *office) {
		within := 0
		for range 60 * 600 { // ten a second, for an hour
			within += o.fail(stranger, 1)
			time.Sleep(100 * time.Millisecond)
		}
		if lines := strings.Count(o.logs.String(), "\n"); lines > 2*121 {
			o.t.Errorf("%d lines", lines)
		}
		if within > 60+60*60 || within < 60*50 {
			o.t.Errorf("%d attempts were told apart", within)
		}
	})
}

func TestHoldLetsInWhoIsWithinTheLimit(t *testing.T) {
	in(t, "60/1m", func(o *office) {
		o.fail(stranger, 60)
		o.want(o.Hold(stranger), time.Duration(0))
		o.fail(stranger, 1)
		o.want(o.Hold(failures.SubjectOf("", "192.0.2.2")), time.Duration(0))
		time.Sleep(10 * time.Second)
		wait := o.Hold(stranger)
		if wait <= 19*time.Second || wait > 20*time.Second+time.Millisecond {
			o.t.Errorf("wait %v", wait)
		}
		time.Sleep(wait)
		o.want(o.Hold(stranger), time.Duration(0))
	})
}

func TestWhatIsGuessedTogetherCostsAsMuchAsOneByOne(t *testing.T) {
	in(t, "60/1m", func(o *office) {
		const together = 500 // let in before the first of them had failed
		for range together {
			o.Guessed(stranger, o.another())
		}
		began := time.Now()
		for wait := o.Hold(stranger); wait > 0; wait = o.Hold(stranger) {
			time.Sleep(wait)
		}
		if paid := time.Since(began); paid < (together-60+30)*time.Second {
			o.t.Errorf("back after %v", paid)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	in(t, "1/1h", func(o *office) {
		for i := range 70_000 { // from as many networks, each over its limit
			s := failures.SubjectOf("", fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff))
			o.fail(s, 2)
		}
		lines := strings.Count(o.logs.String(), "told apart again")
		if left := 70_000 - lines; left != 1<<15 {
			o.t.Errorf("%d subjects are remembered", left)
		}
		o.fail(failures.SubjectOf("orders", "192.0.2.1"), 2)
		for i := range 1 << 16 {
			o.fail(failures.SubjectOf("", fmt.Sprintf("10.%d.%d.1", i>>8, i&0xff)), 1)
		}
		if o.Hold(failures.SubjectOf("orders", "192.0.2.1")) == 0 {
			o.t.Error("strangers made us forget a client")
		}
	})
}

func TestManyFailAtATime(t *testing.T) {
	l, err := failures.New(failures.Config{Limit: verifier.Rate{Limit: 10, Window: time.Hour, Burst: 10}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { l.Run(ctx) })
	var mu sync.Mutex
	within := 0
	var failing sync.WaitGroup
	for range 8 {
		failing.Go(func() {
			for range 1000 {
				l.Hold(stranger)
				if l.Failed(stranger, failures.AttemptOf(fmt.Sprint(rand.Uint64()))) == 0 {
					mu.Lock()
					within++
					mu.Unlock()
				}
			}
		})
	}
	failing.Wait()
	stop()
	all.Wait()
	if within != 10 {
		t.Errorf("%d within a limit of 10", within)
	}
}

func TestNewRefusesWhatIsNoLimit(t *testing.T) {
	for _, cfg := range []failures.Config{{}, {Log: slog.New(slog.DiscardHandler), Limit: verifier.Rate{Limit: -1, Window: 1, Burst: 1}}} {
		if _, err := failures.New(cfg); err == nil {
			t.Errorf("%+v", cfg)
		}
	}
}
