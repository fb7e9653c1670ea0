package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/cambio-auth/cambio/internal/wire"
)

// answer is what came back of one request.
type answer struct {
	status int
	body   []byte
	err    error
}

// charge is what became of what a request was to charge.
type charge int

const (
	refused     charge = iota
	granted            // and durable
	spent              // nothing is left
	unknown            // it may have been charged: no answer, or a 503 that says so
	unavailable        // it was not charged: never sent, or a 503 that says so
)

// ask sends a request. An answer that was not read to its end is none.
func ask(c *http.Client, req *http.Request) answer {
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, body, err}
}

// said are the members of answers that are looked at, of a token, a verdict or a
// refusal.
type said struct {
	AccessToken string `json:"access_token"`
	Valid       bool
	Code        string
	Reason      string
}

func (a answer) said() (s said) {
	_ = json.Unmarshal(a.body, &s) // what is no JSON says nothing
	return s
}

func (a answer) charge() charge {
	if a.err != nil {
		if neverSent(a.err) {
			return unavailable
		}
		return unknown
	}
	said := a.said()
	switch {
	case a.status == http.StatusOK && (said.Valid || said.AccessToken != ""):
		return granted
	case a.status == http.StatusOK && said.Code == wire.ReasonSpent, a.status == http.StatusTooManyRequests && said.Reason == wire.ReasonSpent:
		return spent
	case a.status == http.StatusServiceUnavailable && said.Reason == wire.ReasonOutcomeUnknown:
		return unknown
	case a.status == http.StatusServiceUnavailable && said.Reason == wire.ReasonUnavailable:
		return unavailable
	}
	return refused
}

// neverSent reports whether the request cannot have reached a server.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// exchangeOf is an exchange of a key, as a client writes it.
func exchangeOf(secret string, at string, as account) *http.Request {
	return formOf(at+wire.PathToken, as, url.Values{
		wire.FieldGrantType:        {wire.GrantTokenExchange},
		wire.FieldSubjectTokenType: {wire.TypeAPIKey},
		wire.FieldSubjectToken:     {secret},
		wire.FieldAudience:         {audience},
	})
}

func formOf(to string, as account, form url.Values) *http.Request {
	return request(http.MethodPost, to, as, wire.MediaForm, form.Encode())
}

func request(method, to string, as account, media, body string) *http.Request {
	req, err := http.NewRequestWithContext(context.Background(), method, to, strings.NewReader(body))
	if err != nil {
		panic(err) // the addresses are ours
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if as.ID != "" {
		req.SetBasicAuth(as.ID, as.Secret)
	}
	return req
}
