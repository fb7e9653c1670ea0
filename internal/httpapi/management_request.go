package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/wire"
)

// maxParameters bounds a query, also with keyspaces in it.
const maxParameters = 120

// request is a call of the management API.
type request struct {
	echo  echo.Context
	op    *operation
	call  *call
	parts *Parts

	ctx     context.Context // of what it does; ends in time
	query   url.Values
	faults  []wire.FieldProblem // of the query
	body    *members
	matches []int64 // versions that If-Match names; nil: it names none
	by      manage.By
	did     manage.Did
	media   string // that the caller takes; of several, the operation's first
}

// manager acts for the client. Body and reason must have been read.
func (r *request) manager() *manage.Manager { return r.parts.Manage.As(r.by) }

// open reads all of the request that is not specific to the operation.
func (r *request) open(body []byte) error {
	r.by = manage.By{Client: r.call.client.Client, From: r.call.remote, Did: &r.did}
	if err := r.openQuery(); err != nil {
		return err
	}
	var err error
	if r.media, err = r.accepted(); err != nil {
		return err
	}
	if err := r.mediaType(body); err != nil {
		return err
	}
	if r.body, err = parseMembers(body); err != nil {
		return err
	}
	if !r.op.changes() {
		return nil
	}
	if r.matches, err = ifMatch(r.echo.Request().Header); err != nil {
		return err
	}
	return r.repeat(body)
}

func (r *request) openQuery() error {
	u := r.echo.Request().URL
	if secretInQuery(u) {
		return errQuery
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query) > maxParameters {
		return &requestError{http.StatusBadRequest, "", "the query must be form-encoded, and short"}
	}
	r.query = query
	for name, values := range query {
		switch {
		case !slices.Contains(r.op.query, name):
			r.fault(clip(name), "is not known here")
		case name != "keyspace" && len(values) > 1:
			r.fault(name, "is there twice")
		case len(values) > maxParameters || slices.ContainsFunc(values, func(v string) bool { return v == "" || !printable(v) }):
			r.fault(name, "must be printable text")
		}
	}
	if len(r.op.query) > 0 {
		return nil // what reads them knows more that may be wrong, and asks for all of it
	}
	return r.asked()
}

func (r *request) fault(field, detail string) {
	r.faults = append(r.faults, wire.FieldProblem{Field: field, Detail: detail})
}

// asked tells what is wrong with the query, once its parameters were read.
func (r *request) asked() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortFunc(r.faults, func(a, b wire.FieldProblem) int { return strings.Compare(a.Field, b.Field) })
	return &fieldsError{http.StatusBadRequest, r.faults}
}

// number reads a parameter that is a whole number within bounds.
func (r *request) number(name string, otherwise, least, most int64) int64 {
	if !r.query.Has(name) {
		return otherwise
	}
	n, err := strconv.ParseInt(r.query.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		r.fault(name, fmt.Sprintf("must be a whole number from %d to %d", least, most))
	}
	return n
}

// time reads a parameter that is an instant; zero: it is not there.
func (r *request) time(name string) time.Time {
	if !r.query.Has(name) {
		return time.Time{}
	}
	at, err := instant(r.query.Get(name))
	if err != nil {
		r.fault(name, err.Error())
	}
	return at
}

// oneOf reads a parameter of few values.
func (r *request) oneOf(name string, values ...string) string {
	got := r.query.Get(name)
	if r.query.Has(name) && !slices.Contains(values, got) {
		r.fault(name, "must be one of "+strings.Join(values, ", "))
	}
	return got
}

// reason reads why something is done, for the log.
func (r *request) reason() { r.by.Reason = zero(nullable[string](r.body, "reason")) }

// idPattern holds every id, name and kid that may stand in a path.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// param reads an id in the path. What cannot be one is not looked for.
func (r *request) param(name string) (string, error) {
	id, err := url.PathUnescape(r.echo.Param(name))
	if err != nil || !idPattern.MatchString(id) {
		return "", manage.ErrNotFound
	}
	return id, nil
}

// accepted chooses what to answer with (RFC 9110 §12.5.1). Weights choose nothing:
// the first media type of the operation does that the caller takes at all.
func (r *request) accepted() (string, error) {
	offers := r.op.media
	if len(offers) == 0 {
		offers = []string{wire.MediaJSON}
	}
	header := strings.Join(r.echo.Request().Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return offers[0], nil
	}
	for _, offer := range offers {
		group, _, _ := strings.Cut(offer, "/")
		for taken := range strings.SplitSeq(header, ",") {
			media, params, err := mime.ParseMediaType(taken)
			q, weightErr := strconv.ParseFloat(params["q"], 64)
			if err != nil || weightErr == nil && q <= 0 {
				continue
			}
			if media == offer || media == "*/*" || media == group+"/*" {
				return offer, nil
			}
		}
	}
	return "", &requestError{http.StatusNotAcceptable, "", "the answer can only be " + strings.Join(offers, " or ")}
}

// mediaType takes JSON, in UTF-8 and without an encoding on top of it.
func (r *request) mediaType(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	h := r.echo.Request().Header
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset, said := params["charset"]
	known := media == wire.MediaJSON || r.op.patches && media == wire.MediaPatch
	if err != nil || !known || said && !strings.EqualFold(charset, "utf-8") || len(h.Values("Content-Type")) != 1 || h.Get("Content-Encoding") != "" {
		return &requestError{http.StatusUnsupportedMediaType, "", "the Content-Type must be application/json"}
	}
	return nil
}

// repeat makes the change safe to repeat, if the caller wants that: under the same
// key, the same is what has the same method, path, condition and bytes.
func (r *request) repeat(body []byte) error {
	req := r.echo.Request()
	key, err := idempotencyKey(req.Header)
	if err != nil || key == "" {
		return err
	}
	if !r.op.once {
		return &requestError{http.StatusBadRequest, "", "there is no Idempotency-Key for this"}
	}
	asked := sha256.New()
	for _, part := range []string{req.Method, req.URL.Path, strings.Join(req.Header.Values("If-Match"), ","), string(body)} {
		fmt.Fprintf(asked, "%d:%s", len(part), part)
	}
	r.by.Repeat = &manage.Repeat{
		ID:      exchange.RepeatID(r.call.client.ID, key),
		Request: [32]byte(asked.Sum(nil)),
	}
	return nil
}

// never is a version that nothing has.
const never = -1

var (
	entityTag  = regexp.MustCompile(`^[ \t]*(W/)?"([\x21\x23-\x7e]*)"[ \t]*(?:,|$)`) // RFC 9110 §8.8.3
	errIfMatch = &requestError{http.StatusBadRequest, "", "If-Match must be * or a list of entity tags"}
)

// ifMatch reads the versions that If-Match names. Weak tags, and those of other
// forms, name none that exists (RFC 9110 §13.1.1). Nil: whatever is there is meant.
func ifMatch(h http.Header) ([]int64, error) {
	list := strings.Join(h.Values("If-Match"), ",")
	if len(h.Values("If-Match")) == 0 || strings.TrimSpace(list) == "*" {
		return nil, nil
	}
	var versions []int64
	for list != "" {
		tag := entityTag.FindStringSubmatch(list)
		if tag == nil {
			return nil, errIfMatch
		}
		list = list[len(tag[0]):]
		n, err := strconv.ParseInt(tag[2], 10, 64)
		if err != nil || tag[1] != "" || n < 1 || strconv.FormatInt(n, 10) != tag[2] {
			n = never
		}
		versions = append(versions, n)
	}
	if versions == nil {
		return nil, errIfMatch
	}
	return versions, nil
}

// condition picks the version that is to be changed. Of several that would do it is
// the one that is there now; whether it still is, manage finds out when it changes it.
func (r *request) condition() error {
	switch {
	case r.matches == nil:
		return nil
	case r.op.version == nil:
		return manage.ErrChanged
	}
	r.by.Version = r.matches[0]
	if len(r.matches) == 1 {
		return nil
	}
	now, err := r.op.version(r)
	if errors.Is(err, manage.ErrNotFound) { // said by who does it, in its own words
		return nil
	}
	if slices.Contains(r.matches, now) {
		r.by.Version = now
	}
	return err
}
