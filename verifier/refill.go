package verifier

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Refill sets the remaining uses to Amount at the start of every period; it
// never adds. The zero Refill never does.
type Refill struct {
	Amount   int64
	Interval Interval
	Anchor   time.Time // periods of a fixed length are counted from here
}

// Interval is the length of a period: a fixed duration, or a calendar day or
// month in UTC, which begin at midnight and on the first. The zero Interval is
// no interval.
type Interval struct {
	fixed    time.Duration
	calendar string
}

// Calendar intervals.
var (
	Daily   = Interval{calendar: "day"}
	Monthly = Interval{calendar: "month"}
)

// Every returns the interval of a fixed length.
func Every(d time.Duration) Interval { return Interval{fixed: d} }

// ErrInterval is returned by ParseInterval.
var ErrInterval = errors.New("interval must be day, month, or a duration such as 24h of at least a second")

// ParseInterval reads "day", "month", or a duration of at least a second.
func ParseInterval(s string) (Interval, error) {
	if s == Daily.calendar || s == Monthly.calendar {
		return Interval{calendar: s}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second {
		return Interval{}, fmt.Errorf("%w: %.40q", ErrInterval, s)
	}
	return Every(d), nil
}

// String is the form that ParseInterval reads.
func (i Interval) String() string {
	if i.calendar != "" {
		return i.calendar
	}
	return short(i.fixed)
}

// short writes 24h for what time.Duration writes 24h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// start returns the beginning of the period that now is in. Before the anchor
// there is no period, and start is the zero time.
func (i Interval) start(anchor, now time.Time) time.Time {
	now = now.UTC()
	switch i {
	case Daily:
		return time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	case Monthly:
		return time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	since := now.Sub(anchor)
	if since < 0 || i.fixed <= 0 {
		return time.Time{}
	}
	return anchor.Add(since - since%i.fixed).UTC()
}

// after returns the beginning of the period that follows the one now is in.
func (i Interval) after(anchor, now time.Time) time.Time {
	start := i.start(anchor, now)
	switch {
	case i == Daily:
		return start.AddDate(0, 0, 1)
	case i == Monthly:
		return start.AddDate(0, 1, 0)
	case i.fixed <= 0:
		return time.Time{}
	case start.IsZero():
		return anchor.UTC()
	}
	return start.Add(i.fixed)
}

// ParseRefill reads "1000/month", "1000/day" or "1000/24h". The anchor is left
// for the caller to set.
func ParseRefill(s string) (Refill, error) {
	amount, interval, found := strings.Cut(s, "/")
	n, err := strconv.ParseInt(amount, 10, 64)
	if !found || err != nil || n < 1 {
		return Refill{}, fmt.Errorf("refill %.40q: want AMOUNT/INTERVAL, such as 1000/month", s)
	}
	every, err := ParseInterval(interval)
	if err != nil {
		return Refill{}, fmt.Errorf("refill %.40q: %w", s, err)
	}
	return Refill{Amount: n, Interval: every}, nil
}

// String is the form that ParseRefill reads.
func (r Refill) String() string {
	if r == (Refill{}) {
		return ""
	}
	return fmt.Sprintf("%d/%s", r.Amount, r.Interval)
}
