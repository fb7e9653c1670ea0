package sdk_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cambio-auth/cambio/sdk"
)

func TestOfASuccessfulAnswerTheTokenCountsAndItsType(t *testing.T) {
	for name, c := range map[string]struct {
		body string // TOKEN stands for one that is good
		good bool
	}{
		"as the standard has it":           {`{"access_token":"TOKEN","issued_token_type":"x","token_type":"Bearer","expires_in":300,"scope":""}`, true},
		"the type in small letters":        {`{"access_token":"TOKEN","token_type":"bearer"}`, true},
		"the type in capitals":             {`{"access_token":"TOKEN","token_type":"BEARER"}`, true},
		"expires_in is a text":             {`{"access_token":"TOKEN","token_type":"Bearer","expires_in":"300"}`, true},
		"expires_in is a fraction":         {`{"access_token":"TOKEN","token_type":"Bearer","expires_in":299.5}`, true},
		"expires_in is beyond all numbers": {`{"access_token":"TOKEN","token_type":"Bearer","expires_in":1e999}`, true},
		"expires_in is negative":           {`{"access_token":"TOKEN","token_type":"Bearer","expires_in":-1}`, true},
		"expires_in is null":               {`{"access_token":"TOKEN","token_type":"Bearer","expires_in":null}`, true},
		"scope is a list":                  {`{"access_token":"TOKEN","token_type":"Bearer","scope":["a"]}`, true},
		"unknown members":                  {`{"x":[{"y":1}],"access_token":"TOKEN","token_type":"Bearer"}`, true},
		"white space around":               {" \n{\"access_token\":\"TOKEN\",\"token_type\":\"Bearer\"}\n", true},
		"the type says N_A":                {`{"access_token":"TOKEN","token_type":"N_A"}`, false},
		"the type says DPoP":               {`{"access_token":"TOKEN","token_type":"DPoP"}`, false},
		"the type is missing":              {`{"access_token":"TOKEN"}`, false},
		"the type is null":                 {`{"access_token":"TOKEN","token_type":null}`, false},
		"the type is a list":               {`{"access_token":"TOKEN","token_type":["Bearer"]}`, false},
		"the token comes twice":            {`{"access_token":"TOKEN","access_token":"TOKEN","token_type":"Bearer"}`, false},
		"the type comes twice":             {`{"access_token":"TOKEN","token_type":"N_A","token_type":"Bearer"}`, false},
		"another member comes twice":       {`{"access_token":"TOKEN","token_type":"Bearer","x":1,"x":2}`, false},
		"the token's name in capitals":     {`{"ACCESS_TOKEN":"TOKEN","token_type":"Bearer"}`, false},
		"the token is a number":            {`{"access_token":5,"token_type":"Bearer"}`, false},
		"the token is null":                {`{"access_token":null,"token_type":"Bearer"}`, false},
		"the token is empty":               {`{"access_token":"","token_type":"Bearer"}`, false},
		"the token is in an object":        {`{"access_token":{"v":"TOKEN"},"token_type":"Bearer"}`, false},
		"an array":                         {`["TOKEN"]`, false},
		"a text":                           {`"TOKEN"`, false},
		"null":                             {`null`, false},
		"nothing":                          {``, false},
		"cut off":                          {`{"access_token":"TOKEN","token_type":"Bearer"`, false},
		"something after the end":          {`{"access_token":"TOKEN","token_type":"Bearer"} {}`, false},
		"a byte-order mark":                {"\ufeff" + `{"access_token":"TOKEN","token_type":"Bearer"}`, false},
		"no UTF-8":                         {`{"access_token":"TOKEN","token_type":"Bearer","x":"` + "\xff" + `"}`, false},
		"nested without end":               {`{"access_token":"TOKEN","token_type":"Bearer","x":` + strings.Repeat("[", 60_000), false},
		"a web page":                       {`<html>TOKEN</html>`, false},
		"over 64 KiB":                      {`{"access_token":"TOKEN","token_type":"Bearer"}` + strings.Repeat(" ", 64<<10), false},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				token := d.Token(billing, "projects:read")
				body := strings.ReplaceAll(c.body, "TOKEN", token)
				d.exchanges.set(says(200, body, "Content-Type", "text/html")) // the body speaks for itself
				err := d.verify(t)
				if c.good {
					wantAccepted(t, err)
					return
				}
				wantRetryAfter(t, err, time.Second) // as it may have been charged
				wantNoSecret(t, err, d.key, token)
			})
		})
	}
}

// wantNoSecret looks for secrets, and for the beginnings of them, in err and all
// that it wraps.
func wantNoSecret(t *testing.T, err error, secrets ...string) {
	t.Helper()
	for _, text := range []string{fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		for _, secret := range secrets {
			if secret = secret[:min(len(secret), 20)]; strings.Contains(text, secret) {
				t.Fatalf("the error holds %q: %s", secret, text)
			}
		}
	}
	if one := errors.Unwrap(err); one != nil {
		wantNoSecret(t, one, secrets...)
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, each := range many.Unwrap() {
			wantNoSecret(t, each, secrets...)
		}
	}
}

func TestOnlyWhatIsSaidOnceAndPlainlyIsAWordAboutTheKey(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		refused bool
	}{
		"as the standard has it":     {`{"error":"invalid_request","error_description":"no"}`, true},
		"a description that is none": {`{"error":"invalid_request","error_description":{"a":[1]}}`, true},
		"a time that is none":        {`{"error":"invalid_request","retry_after_ms":"soon"}`, true},
		"a reason that is none":      {`{"error":"invalid_request","reason":null}`, true},
		"an escape":                  {`{"error":"invalid\u005frequest"}`, true},
		"the error comes twice":      {`{"error":"invalid_request","error":"invalid_request"}`, false},
		"two errors":                 {`{"error":"invalid_client","error":"invalid_request"}`, false},
		"in capitals":                {`{"Error":"invalid_request"}`, false},
		"a list":                     {`{"error":["invalid_request"]}`, false},
		"in an object":               {`{"error":{"code":"invalid_request"}}`, false},
		"something after the end":    {`{"error":"invalid_request"}x`, false},
		"cut off":                    {`{"error":"invalid_request"`, false},
		"another code":               {`{"error":"invalid_request_object"}`, false},
		"no code":                    {`{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				wantAccepted(t, d.verify(t))
				d.exchanges.set(says(400, c.body))
				err := d.fresh(t)
				if c.refused {
					wantRefused(t, err)
					wantRefused(t, d.verify(t))
					return
				}
				wantRetryAfter(t, err, time.Second)
				wantAccepted(t, d.verify(t)) // the token kept is good as before
			})
		})
	}
}

func TestATimeToWaitIsUnderstoodInEveryForm(t *testing.T) {
	const days = 24 * time.Hour
	date := func(after time.Duration) string { return time.Now().UTC().Add(after).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		ms     string
		header func() []string
		want   time.Duration // zero: not told
	}{
		"milliseconds":                {ms: "1500", want: 1500 * time.Millisecond},
		"milliseconds before seconds": {ms: "1500", header: func() []string { return []string{"Retry-After", "7"} }, want: 1500 * time.Millisecond},
		"seconds":                     {header: func() []string { return []string{"Retry-After", "7"} }, want: 7 * time.Second},
		"a date":                      {header: func() []string { return []string{"Retry-After", date(time.Minute)} }, want: time.Minute},
		"a date by another clock": {header: func() []string {
			return []string{"Date", date(-time.Hour), "Retry-After", date(-time.Hour + 9*time.Second)}
		}, want: 9 * time.Second},
		"a date beside a broken clock": {header: func() []string { return []string{"Date", "today", "Retry-After", date(time.Minute)} }, want: time.Minute},
		"beyond all numbers":           {header: func() []string { return []string{"Retry-After", strings.Repeat("9", 40)} }, want: 400 * days},
		"a date in a far future":       {header: func() []string { return []string{"Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"} }, want: 400 * days},
		"milliseconds beyond numbers":  {ms: strings.Repeat("9", 40), want: 400 * days},
		"negative milliseconds":        {ms: "-5", header: func() []string { return []string{"Retry-After", "3"} }, want: 3 * time.Second},
		"milliseconds that are none":   {ms: `"5"`, header: func() []string { return []string{"Retry-After", "3"} }, want: 3 * time.Second},
		"a fraction of milliseconds":   {ms: `5.5`, header: func() []string { return []string{"Retry-After", "3"} }, want: 3 * time.Second},
		"the first of two":             {header: func() []string { return []string{"Retry-After", "3", "Retry-After", "9"} }, want: 3 * time.Second},
		"negative":                     {header: func() []string { return []string{"Retry-After", "-7"} }},
		"a fraction":                   {header: func() []string { return []string{"Retry-After", "1.5"} }},
		"garbage":                      {header: func() []string { return []string{"Retry-After", "soon"} }},
		"empty":                        {header: func() []string { return []string{"Retry-After", ""} }},
		"not there":                    {},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				body := `{"error":"invalid_request","reason":"spent"}`
				if c.ms != "" {
					body = `{"error":"invalid_request","reason":"spent","retry_after_ms":` + c.ms + `}`
				}
				var header []string
				if c.header != nil {
					header = c.header()
				}
				d.exchanges.set(says(429, body, header...))
				var limited *sdk.LimitedError
				if err := d.verify(t); !errors.As(err, &limited) || limited.RetryAfter != c.want || limited.RetryAt.IsZero() != (c.want == 0) {
					t.Fatalf("got %v, want to retry in %v", err, c.want)
				}
				d.exchanges.set(served(d))
				time.Sleep(10 * time.Second) // it is not waited for any longer
				wantAccepted(t, d.verify(t))
			})
		})
	}
	t.Run("a date that is over", func(t *testing.T) {
		atDesk(t, func(t *testing.T, d *desk) {
			d.exchanges.set(oauthError(429, "invalid_request", "spent", "Retry-After", date(-time.Hour)))
			wantRefused(t, d.verify(t))
			d.exchanges.set(served(d))
			wantAccepted(t, d.verify(t))
		})
	})
}

func TestAnAnswerThatWasNotExpectedIsNotAskedForAgainAtOnce(t *testing.T) {
	for status, charged := range map[int]bool{
		201: true, 202: true, 204: true, 302: false, 400: false, 404: false, 408: false, 410: false, 500: true, 502: true, 504: true,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				d.exchanges.set(says(status, ""))
				for range 10 {
					wantRetryAfter(t, d.verify(t), time.Second)
				}
				d.wantExchanges(t, 1)
				time.Sleep(time.Second)
				pause := time.Second
				if charged {
					pause *= 2
				}
				wantRetryAfter(t, d.verify(t), pause)
			})
		})
	}
}

func TestTheIssuersWordsAreNotRepeatedInErrors(t *testing.T) {
	for name, answer := range map[string]func(key string) func(*http.Request) (*http.Response, error){
		"an error code": func(key string) func(*http.Request) (*http.Response, error) {
			return oauthError(401, key, "")
		},
		"a reason": func(key string) func(*http.Request) (*http.Response, error) {
			return oauthError(429, "invalid_request", key)
		},
		"a description": func(key string) func(*http.Request) (*http.Response, error) {
			return says(500, `{"error":"server_error","error_description":"`+key+`"}`)
		},
		"no JSON": func(key string) func(*http.Request) (*http.Response, error) { return says(200, key) },
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(t *testing.T, d *desk) {
				const key = "a_key_of_small_letters_that_looks_like_a_code"
				d.exchanges.set(answer(key))
				err := d.verifyKey(t, key)
				wantUnavailable(t, err)
				wantNoSecret(t, err, key)
			})
		})
	}
}
