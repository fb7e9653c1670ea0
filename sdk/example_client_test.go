package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

// How fresh an answer must be is for each call to say. An exchange is a charge,
// and so is each of a call that asks to be Online.
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
		fmt.Println(iss.Exchanges(), err)
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
	// 1 <nil>
	// 1 <nil>
	// 1 <nil>
	// 2 refused: API key not accepted
	// 2 refused: API key not accepted
	// 3 refused: API key not accepted
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
