package sdkgrpc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cambio-auth/cambio/sdk"
	"github.com/cambio-auth/cambio/sdk/sdkgrpc"
	"github.com/cambio-auth/cambio/sdk/sdktest"
)

const billing = "https://billing.example.com"

// service answers only where a token is in the context, and with its subject.
type service struct {
	health.UnimplementedHealthServer
	open bool
}

var errNoToken = errors.New("no token in the context")

func (s service) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	if _, ok := sdk.FromContext(ctx); !ok && !s.open {
		return nil, errNoToken
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

func (s service) Watch(_ *health.HealthCheckRequest, stream grpc.ServerStreamingServer[health.HealthCheckResponse]) error {
	answer, err := s.Check(stream.Context(), nil)
	if err != nil {
		return err
	}
	return stream.Send(answer)
}

// serve runs a server on loopback and returns a client of it.
func serve(a sdk.Authenticator, needs sdkgrpc.Needs, s service) (health.HealthClient, func(), error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	server := grpc.NewServer(
		grpc.UnaryInterceptor(sdkgrpc.UnaryInterceptor(a, needs)),
		grpc.StreamInterceptor(sdkgrpc.StreamInterceptor(a, needs)),
	)
	health.RegisterHealthServer(server, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	return health.NewHealthClient(conn), func() { _ = conn.Close(); server.Stop(); <-done }, err
}

func Example() {
	iss := sdktest.Start()
	defer iss.Close()
	key := iss.AddKey(sdktest.Key{Permissions: sdk.Permissions{"health": {"read"}}})
	client, err := sdk.NewClient(iss.ClientConfig("https://orders.example.com"))
	if err != nil {
		log.Fatal(err)
	}

	needs := sdkgrpc.Needs{"/grpc.health.v1.Health/Check": {Resource: "health", Action: "read"}}
	stub, stop, err := serve(client, needs, service{}) // with grpc.UnaryInterceptor(sdkgrpc.UnaryInterceptor(client, needs))
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+key)
	answer, err := stub.Check(ctx, &health.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	_, err = stub.Check(context.Background(), &health.HealthCheckRequest{})
	fmt.Println(status.Code(err))
	// Output:
	// SERVING <nil>
	// Unauthenticated
}

const (
	check = "/grpc.health.v1.Health/Check"
	watch = "/grpc.health.v1.Health/Watch"
)

var reads = sdkgrpc.Need{Resource: "projects", Action: "read"}

// call calls the method, unary or streaming, with pairs of metadata.
func call(ctx context.Context, stub health.HealthClient, method string, pairs []string) error {
	ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	if method == check {
		_, err := stub.Check(ctx, &health.HealthCheckRequest{})
		return err
	}
	stream, err := stub.Watch(ctx, &health.HealthCheckRequest{})
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

func TestErrorsBecomeCodes(t *testing.T) {
	iss := sdktest.Start()
	defer iss.Close()
	client, err := sdk.NewClient(iss.ClientConfig(billing))
	if err != nil {
		t.Fatal(err)
	}
	good := sdk.Permissions{"projects": {"read"}}
	key := iss.AddKey(sdktest.Key{Permissions: good})
	stub, stop, err := serve(client, sdkgrpc.Needs{check: reads, watch: reads}, service{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for name, test := range map[string]struct {
		pairs []string
		want  codes.Code
		retry time.Duration // zero: nothing is said
	}{
		"a token":                     {[]string{"authorization", "Bearer " + iss.Token(billing, "projects:read")}, codes.OK, 0},
		"a token, scheme in capitals": {[]string{"Authorization", "BEARER " + iss.Token(billing, "projects:read")}, codes.OK, 0},
		"a key as a bearer's":         {[]string{"authorization", "Bearer " + key}, codes.OK, 0},
		"a key":                       {[]string{"x-api-key", key}, codes.OK, 0},
		"two of them":                 {[]string{"x-api-key", key, "x-api-key", key}, codes.InvalidArgument, 0},
		"different ones":              {[]string{"x-api-key", key, "authorization", "Bearer other"}, codes.InvalidArgument, 0},
		"an unknown key":              {[]string{"x-api-key", "ck_unknown"}, codes.Unauthenticated, 0},
		"an expired token":            {[]string{"authorization", "Bearer " + iss.Expired(billing, "projects:read")}, codes.Unauthenticated, 0},
		"a token for another":         {[]string{"authorization", "Bearer " + iss.Token("other", "projects:read")}, codes.Unauthenticated, 0},
		"a weak token":                {[]string{"authorization", "Bearer " + iss.Token(billing, "projects:write")}, codes.PermissionDenied, 0},
		"a weak key":                  {[]string{"x-api-key", iss.AddKey(sdktest.Key{})}, codes.PermissionDenied, 0},
		"a spent key":                 {[]string{"x-api-key", iss.AddKey(sdktest.Key{Permissions: good, Limited: true})}, codes.ResourceExhausted, 0},
		"a key with a refill due":     {[]string{"x-api-key", iss.AddKey(sdktest.Key{Permissions: good, Limited: true, RetryAfter: time.Hour})}, codes.ResourceExhausted, time.Minute},
	} {
		for _, method := range []string{check, watch} {
			t.Run(name+" at "+method, func(t *testing.T) {
				err := call(t.Context(), stub, method, test.pairs)
				if status.Code(err) != test.want {
					t.Fatalf("%v, want %s", err, test.want)
				}
				if said := status.Convert(err).Message(); said != messages[test.want] {
					t.Errorf("it says %q, want %q", said, messages[test.want])
				}
				if got := retryDelay(err); (got > 0) != (test.retry > 0) || got < test.retry {
					t.Errorf("told to wait %s, want at least %s", got, test.retry)
				}
			})
		}
	}
}

// messages are all that a refused caller is told.
var messages = map[codes.Code]string{
	codes.Unauthenticated: "invalid_token", codes.InvalidArgument: "invalid_request", codes.PermissionDenied: "insufficient_scope", codes.ResourceExhausted: "spent",
}

func retryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

type authenticator struct{ err error }

func (a authenticator) Check(context.Context, string) (*sdk.Token, error) { return nil, a.err }

func TestNothingSentIsUnauthenticatedWithoutAnError(t *testing.T) {
	stub, stop, err := serve(authenticator{}, sdkgrpc.Needs{check: reads}, service{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, pairs := range [][]string{nil, {"authorization", "Basic eDp5"}} {
		err := call(t.Context(), stub, check, pairs)
		if status.Code(err) != codes.Unauthenticated || status.Convert(err).Message() != "a token or an API key is required" {
			t.Errorf("%v: %v", pairs, err)
		}
	}
}

func TestWhatWeCannotTellIsUnavailable(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		want  codes.Code
		retry time.Duration
	}{
		"for a while":               {&sdk.UnavailableError{RetryAfter: 7 * time.Second}, codes.Unavailable, 7 * time.Second},
		"who knows how long":        {sdk.ErrUnavailable, codes.Unavailable, time.Second},
		"something else is wrong":   {errors.New("a secret"), codes.Internal, 0},
		"neither token nor error":   {nil, codes.PermissionDenied, 0},
		"not for our audience":      {&sdk.ForbiddenError{Audience: "x"}, codes.PermissionDenied, 0},
		"limited, and told for how": {&sdk.LimitedError{Reason: "spent", RetryAt: time.Unix(9, 0), RetryAfter: time.Millisecond}, codes.ResourceExhausted, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			stub, stop, err := serve(authenticator{test.err}, sdkgrpc.Needs{check: reads}, service{})
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			err = call(t.Context(), stub, check, []string{"x-api-key", "ck_1"})
			if status.Code(err) != test.want || retryDelay(err) != test.retry {
				t.Errorf("%v, wait %s", err, retryDelay(err))
			}
			if status.Code(err) == codes.Internal && status.Convert(err).Message() != "server_error" {
				t.Errorf("it tells %v", err)
			}
		})
	}
}

func TestAMethodOfWhichNothingIsSaidIsClosedAndAnOpenOneIsOpen(t *testing.T) {
	iss := sdktest.Start()
	defer iss.Close()
	checker, err := sdk.NewChecker(iss.CheckerConfig(billing))
	if err != nil {
		t.Fatal(err)
	}
	stub, stop, err := serve(checker, sdkgrpc.Needs{check: {Open: true}}, service{open: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := call(t.Context(), stub, check, nil); err != nil {
		t.Errorf("an open method: %v", err)
	}
	pairs := []string{"authorization", "Bearer " + iss.Token(billing, "projects:read")}
	if err := call(t.Context(), stub, watch, pairs); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a method without an entry: %v", err)
	}
}

func TestNeedsThatGuardNothingPanic(t *testing.T) {
	for name, guard := range map[string]func(){
		"no authenticator":      func() { sdkgrpc.UnaryInterceptor(nil, nil) },
		"nothing needed":        func() { sdkgrpc.UnaryInterceptor(authenticator{}, sdkgrpc.Needs{check: {}}) },
		"no action":             func() { sdkgrpc.StreamInterceptor(authenticator{}, sdkgrpc.Needs{check: {Resource: "a"}}) },
		"open and half needing": func() { sdkgrpc.StreamInterceptor(authenticator{}, sdkgrpc.Needs{check: {Resource: "a", Open: true}}) },
		"open and needing rights": func() {
			sdkgrpc.StreamInterceptor(authenticator{}, sdkgrpc.Needs{check: {Resource: "a", Action: "b", Open: true}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			guard()
		})
	}
}
