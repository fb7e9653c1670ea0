package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// How fresh an answer must be is for each call to say. An exchange is a charge,
// and so is each call that asks to be Online.
func ExampleVerifyRequest() {
	iss := sdktest.Start()
	defer iss.Close()
	iss.SetTime(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	key := iss.AddKey(sdktest.Key{Owner: "user_42"})
	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}
	verify := func(req sdk.VerifyRequest) {
		_, err := client.VerifyAPIKey(context.Background(), req)
		fmt.Println(iss.Exchanges(), iss.Verifications(), err)
	}

	verify(sdk.VerifyRequest{Key: key})
	iss.Advance(time.Minute)
	iss.RemoveKey(key) // revoked; nobody has told us

	verify(sdk.VerifyRequest{Key: key})                          // as the token lives
	verify(sdk.VerifyRequest{Key: key, MaxAge: 2 * time.Minute}) // young enough
	verify(sdk.VerifyRequest{Key: key, MaxAge: 10 * time.Second})
	verify(sdk.VerifyRequest{Key: key}) // now we know
	verify(sdk.VerifyRequest{Key: key, Online: true})
	// Output:
	// 1 0 <nil>
	// 1 0 <nil>
	// 1 0 <nil>
	// 2 0 refused: API key not accepted
	// 2 0 refused: API key not accepted
	// 2 1 refused: API key not accepted
}

// Every use counts, by what it is worth, and once however often it is asked.
func ExampleVerifyRequest_online() {
	iss := sdktest.Start()
	defer iss.Close()
	key := iss.AddKey(sdktest.Key{Owner: "user_42", Limited: true, Uses: 10})
	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}
	verify := func(req sdk.VerifyRequest) {
		req.Key, req.Online = key, true
		token, err := client.VerifyAPIKey(context.Background(), req)
		if err != nil {
			fmt.Println(err)
			return
		}
		budget, _ := token.Budget()
		fmt.Println(token.Subject(), "has", budget.Remaining)
	}

	verify(sdk.VerifyRequest{})
	verify(sdk.VerifyRequest{Cost: 5, IdempotencyKey: "order-1"})
	verify(sdk.VerifyRequest{Cost: 5, IdempotencyKey: "order-1"}) // the same order
	verify(sdk.VerifyRequest{Cost: 5})
	verify(sdk.VerifyRequest{Peek: true})
	// Output:
	// user_42 has 9
	// user_42 has 4
	// user_42 has 4
	// refused: spent
	// user_42 has 4
}

// counted has Require count every request, and not every token.
type counted struct{ *sdk.Client }

func (c counted) Check(ctx context.Context, raw string) (*sdk.Token, error) {
	return c.VerifyAPIKey(ctx, sdk.VerifyRequest{Key: raw, Online: true})
}

// Whoever takes keys alone can have each request counted.
func ExampleAuthenticator() {
	iss := sdktest.Start()
	defer iss.Close()
	key := iss.AddKey(sdktest.Key{Permissions: sdk.Permissions{"projects": {"read"}}, Limited: true, Uses: 2})
	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}
	handler := sdk.Require(counted{client}, "projects", "read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := sdk.FromContext(r.Context())
		budget, _ := token.Budget()
		w.Header().Set("X-RateLimit-Remaining", strconv.FormatInt(budget.Remaining, 10))
	}))
	for range 3 {
		request := httptest.NewRequest(http.MethodGet, "/projects", nil)
		request.Header.Set("X-API-Key", key)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		fmt.Println(answer.Code, answer.Header().Get("X-RateLimit-Remaining"))
	}
	// Output:
	// 200 1
	// 200 0
	// 429
}

// Every error of a Client is an answer to give.
func ExampleClient_VerifyAPIKey_errors() {
	iss := sdktest.Start()
	defer iss.Close()
	iss.SetTime(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}
	answer := func(key string) (status int, retryAfter time.Duration) {
		_, err := client.VerifyAPIKey(context.Background(), sdk.VerifyRequest{
			Key: key, Online: true, Permissions: sdk.Permissions{"projects": {"read"}},
		})
		var (
			forbidden *sdk.ForbiddenError
			limited   *sdk.LimitedError
			away      *sdk.UnavailableError
		)
		switch {
		case err == nil:
			return http.StatusOK, 0
		case errors.As(err, &forbidden):
			return http.StatusForbidden, 0
		case errors.As(err, &limited):
			return http.StatusTooManyRequests, limited.RetryAfter // zero: waiting will not help
		case errors.Is(err, sdk.ErrRefused):
			return http.StatusUnauthorized, 0
		case errors.As(err, &away):
			return http.StatusServiceUnavailable, away.RetryAfter
		default:
			return http.StatusInternalServerError, 0 // a mistake in what was asked
		}
	}
	read := sdk.Permissions{"projects": {"read"}}
	once := iss.AddKey(sdktest.Key{Permissions: read, Limited: true, Uses: 1, RetryAfter: time.Hour})
	fmt.Println(answer(once))
	fmt.Println(answer(once))
	fmt.Println(answer(iss.AddKey(sdktest.Key{})))
	fmt.Println(answer("ck_unknown"))
	iss.SetDown(true)
	fmt.Println(answer(iss.AddKey(sdktest.Key{Permissions: read})))
	// Output:
	// 200 0s
	// 429 1h0m0s
	// 403 0s
	// 401 0s
	// 503 1s
}
