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
	"errors"
	"fmt"
	"net/http"
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
		if need.Open == (need.Resource != "" && need.Action != "") {
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
		return nil, refusal(need, err)
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

// refusal is the one place where an error becomes a code. It says no more than
// sdk.Refuse does.
func refusal(need Need, err error) error {
	var (
		forbidden *sdk.ForbiddenError
		limited   *sdk.LimitedError
		away      *sdk.UnavailableError
	)
	switch {
	case errors.As(err, &forbidden):
		return status.Errorf(codes.PermissionDenied, "insufficient_scope: needs %s:%s", need.Resource, need.Action)
	case errors.As(err, &limited):
		if limited.RetryAt.IsZero() {
			return status.Error(codes.ResourceExhausted, limited.Reason)
		}
		return later(codes.ResourceExhausted, limited.Reason, limited.RetryAfter)
	case errors.Is(err, sdk.ErrRefused):
		return status.Error(codes.Unauthenticated, "invalid_token: a good token or API key is needed, in one place")
	case errors.As(err, &away):
		return later(codes.Unavailable, "temporarily_unavailable", away.RetryAfter)
	case errors.Is(err, sdk.ErrUnavailable):
		return later(codes.Unavailable, "temporarily_unavailable", 0)
	}
	return status.Error(codes.Internal, "server_error")
}

// later adds when to try again, a second from now at the earliest.
func later(code codes.Code, message string, wait time.Duration) error {
	plain := status.New(code, message)
	detailed, err := plain.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(max(wait, time.Second))})
	if err != nil {
		return plain.Err()
	}
	return detailed.Err()
}
