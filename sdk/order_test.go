package sdk_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// hand has exchanges wait for answers that the test gives, in the order it likes.
type hand struct {
	asked chan chan func(*http.Request) (*http.Response, error)
}

func byHand(d *desk) *hand {
	h := &hand{asked: make(chan chan func(*http.Request) (*http.Response, error), 1)}
	d.exchanges.set(func(r *http.Request) (*http.Response, error) {
		answer := make(chan func(*http.Request) (*http.Response, error))
		h.asked <- answer
		return (<-answer)(r)
	})
	return h
}

// call is one whose exchange is under way.
type call struct {
	with   chan func(*http.Request) (*http.Response, error)
	result chan error
}

// call begins verify, which must cause an exchange, a moment after all others.
func (h *hand) call(t *testing.T, verify func(*testing.T) error) *call {
	t.Helper()
	time.Sleep(time.Millisecond)
	c := &call{result: make(chan error, 1)}
	go func() { c.result <- verify(t) }()
	select {
	case c.with = <-h.asked:
	case <-time.After(time.Second):
		t.Fatal("no exchange")
	}
	return c
}

// answer ends the call.
func (c *call) answer(with func(*http.Request) (*http.Response, error)) error {
	c.with <- with
	err := <-c.result
	synctest.Wait()
	return err
}

var refuses = oauthError(400, "invalid_request", "")

func TestAnOlderTokenDoesNotUndoANewerRefusal(t *testing.T) {
	for name, older := range map[string]func(*desk) func(*testing.T) error{
		"of an online call":     func(d *desk) func(*testing.T) error { return d.online },
		"of a first sight":      func(d *desk) func(*testing.T) error { return d.verify },
		"of who wants it fresh": func(d *desk) func(*testing.T) error { return d.fresh },
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				h := byHand(d)
				first := h.call(t, older(d))
				second := h.call(t, d.online)
				wantRefused(t, second.answer(refuses))
				wantRefused(t, d.verify(t)) // and does not join the first
				wantAccepted(t, first.answer(served(d)))
				wantRefused(t, d.verify(t))
				wantRefused(t, d.noOlderThan(t, time.Minute))
				d.wantExchanges(t, 2)
				time.Sleep(5 * time.Second)
				wantRefused(t, h.call(t, d.verify).answer(refuses))
			})
		})
	}
}

func TestAnOlderTokenDoesNotReplaceANewerOne(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		h := byHand(d)
		first := h.call(t, d.fresh)
		time.Sleep(3 * time.Second)
		second := h.call(t, d.fresh)
		began := time.Now()
		wantAccepted(t, second.answer(served(d)))
		wantAccepted(t, first.answer(served(d)))
		time.Sleep(time.Second)
		wantAccepted(t, d.noOlderThan(t, time.Since(began)))
		d.wantExchanges(t, 2)
	})
}

func TestANewerTokenReplacesAnOlderOneThatCameFirst(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		h := byHand(d)
		first := h.call(t, d.fresh)
		time.Sleep(3 * time.Second)
		second := h.call(t, d.fresh)
		began := time.Now()
		wantAccepted(t, first.answer(served(d)))
		wantAccepted(t, second.answer(served(d)))
		time.Sleep(time.Second)
		wantAccepted(t, d.noOlderThan(t, time.Since(began)))
		d.wantExchanges(t, 2)
	})
}

func TestWhoComesAfterARefusalDoesNotJoinWhatItOvertook(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		h := byHand(d)
		first := h.call(t, d.online)
		second := h.call(t, d.fresh)
		began := time.Now()
		wantRefused(t, first.answer(refuses))
		// The refusal is too old for this one, by its start; the second would do.
		third := h.call(t, func(t *testing.T) error { return d.noOlderThan(t, time.Since(began)) })
		wantRefused(t, third.answer(refuses))
		wantAccepted(t, second.answer(served(d)))
		d.wantExchanges(t, 3)
	})
}

// Nobody knows which of two that overlap was decided first.
func TestOfTwoThatOverlapTheRefusalCounts(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		h := byHand(d)
		first, second := h.call(t, d.online), h.call(t, d.fresh)
		wantAccepted(t, second.answer(served(d)))
		wantAccepted(t, d.verify(t))
		wantRefused(t, first.answer(refuses))
		wantRefused(t, d.verify(t))
		d.wantExchanges(t, 2)
	})
	atDesk(t, func(t *testing.T, d *desk) {
		h := byHand(d)
		first, second := h.call(t, d.online), h.call(t, d.fresh)
		wantRefused(t, first.answer(refuses))
		wantAccepted(t, second.answer(served(d)))
		wantRefused(t, d.verify(t))
		third := h.call(t, d.online) // which starts after the refusal
		wantAccepted(t, third.answer(served(d)))
		wantAccepted(t, h.call(t, d.verify).answer(served(d)))
		d.wantExchanges(t, 4)
	})
}

func TestARefreshThatIsOvertakenByARefusalIsNotKept(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		time.Sleep(230 * time.Second)
		h := byHand(d)
		wantAccepted(t, d.verify(t)) // has it refreshed
		refresh := <-h.asked
		wantRefused(t, h.call(t, d.online).answer(refuses))
		refresh <- served(d)
		synctest.Wait()
		wantRefused(t, d.verify(t))
		d.wantExchanges(t, 3)
	})
}

func TestAnOnlineRefusalOfOneKeyspaceSaysNothingOfAnother(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		wantAccepted(t, d.verify(t))
		wantRefused(t, d.in(t, "other"))
		wantAccepted(t, d.verify(t))
		d.wantExchanges(t, 2)
	})
}
