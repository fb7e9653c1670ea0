// Package sdkgrpc guards the methods of a gRPC server with the sdk. It finds the
// token or key in the metadata of a call, as sdk.Require does in headers
// ("authorization: Bearer …" or "x-api-key"), and turns errors of the sdk into
// codes. What a method needs is said by its full name; one of which nothing is
// said is closed.
//
// A stream is checked when it begins, and not again however long it lasts.
package sdkgrpc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cambio-auth/cambio/sdk"
)

// Need is what a method demands of its caller.
type Need struct {
	Resource, Action string // required, unless Open
	Open             bool   // anybody may call it, without token or key
}

// Needs says what each method needs, by its full name, "/package.Service/Method".
// A method without an entry is refused with PermissionDenied.
type Needs map[string]Need

// UnaryInterceptor guards the unary methods of a server. The token of a call is for
// the method to read by sdk.FromContext. It panics if needs guards nothing where it
// should.
func UnaryInterceptor(a sdk.Authenticator, needs Needs) grpc.UnaryServerInterceptor {
	g := newGuard(a, needs)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := g.authorize(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// StreamInterceptor is UnaryInterceptor for streaming methods.
func StreamInterceptor(a sdk.Authenticator, needs Needs) grpc.StreamServerInterceptor {
	g := newGuard(a, needs)
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := g.authorize(stream.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		return handler(srv, guarded{stream, ctx})
	}
}

// guarded is a stream whose context has the token.
type guarded struct {
	grpc.ServerStream
	ctx context.Context
}

func (s guarded) Context() context.Context { return s.ctx }

type guard struct {
	a     sdk.Authenticator
	needs Needs
}

func newGuard(a sdk.Authenticator, needs Needs) guard {
	if a == nil {
		panic("sdkgrpc: an Authenticator is required")
	}
	own := make(Needs, len(needs))
	for method, need := range needs {
		named := need.Resource != "" && need.Action != ""
		if need.Open && (need.Resource != "" || need.Action != "") || !need.Open && !named {
			panic(fmt.Sprintf("sdkgrpc: %s needs a resource and an action, or is Open", method))
		}
		own[method] = need
	}
	return guard{a, own}
}

func (g guard) authorize(ctx context.Context, method string) (context.Context, error) {
	need, known := g.needs[method]
	switch {
	case !known:
		return nil, status.Error(codes.PermissionDenied, "insufficient_scope: this method is not open to anybody")
	case need.Open:
		return ctx, nil
	}
	token, err := sdk.Authorize(ctx, g.a, header(ctx), need.Resource, need.Action)
	if err != nil {
		return nil, g.refusal(err)
	}
	return sdk.NewContext(ctx, token), nil
}

// header is what of the metadata may hold a token or key.
func header(ctx context.Context) http.Header {
	h := http.Header{}
	for _, name := range []string{"Authorization", "X-Api-Key"} {
		h[name] = metadata.ValueFromIncomingContext(ctx, name)
	}
	return h
}

// refusal is what sdk.Refuse would answer, as a code: so it says no more.
func (g guard) refusal(err error) error {
	answer := answer{header: http.Header{}}
	sdk.Refuse(&answer, g.a, err)
	var said struct{ Error string }
	if json.Unmarshal(answer.body, &said) != nil || said.Error == "" {
		said.Error = "a token or an API key is required"
	}
	code, known := codeOf[answer.status]
	if !known {
		code = codes.Internal
	}
	plain := status.New(code, said.Error)
	seconds, err := strconv.Atoi(answer.header.Get("Retry-After"))
	if err != nil {
		return plain.Err()
	}
	detailed, err := plain.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(seconds) * time.Second)})
	if err != nil {
		return plain.Err()
	}
	return detailed.Err()
}

var codeOf = map[int]codes.Code{
	http.StatusBadRequest:         codes.InvalidArgument,
	http.StatusUnauthorized:       codes.Unauthenticated,
	http.StatusForbidden:          codes.PermissionDenied,
	http.StatusTooManyRequests:    codes.ResourceExhausted,
	http.StatusServiceUnavailable: codes.Unavailable,
}

// answer takes down what is answered.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header    { return a.header }
func (a *answer) WriteHeader(status int) { a.status = status }
func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}
