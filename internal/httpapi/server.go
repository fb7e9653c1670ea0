// Package httpapi is the HTTP of a server: the token endpoint (RFC 8693), the key set,
// the status lists, the metadata documents, the management API, and health. It decodes
// requests, authenticates who sends them, and encodes answers; what is granted is
// decided in exchange and below, and what may be changed in manage. All errors become
// answers in one function, answerFor, or problemFor for the management API.
//
// # Why the slots are taken after the body was read
//
// At most Config.MaxConcurrent exchanges are decided at a time, and the rest
// is told to come back. A body is read before its request takes a slot, so a
// caller that sends slowly keeps nobody out. The key set, the status lists and the
// metadata come from memory and need no slot: backends can check tokens while
// exchanges are refused.
package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/internal/audit"
	"github.com/cambio-auth/cambio/internal/exchange"
	"github.com/cambio-auth/cambio/internal/failures"
	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/issuer"
	"github.com/cambio-auth/cambio/verifier"
)

// Bounds of a connection. A request that takes longer is cut off.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second // from the end of the headers
	idleTimeout       = 2 * time.Minute  // longer than load balancers keep theirs
	maxHeader         = 8 << 10
	maxStreams        = 100 // of a connection of HTTP/2, as RFC 9113 §6.5.2 recommends at least
)

// DefaultGrace is Config.Grace if that is zero. A listener of each kind may take as
// long, so whoever stops a server should give it three times this.
const DefaultGrace = 15 * time.Second

// Config makes a Server.
type Config struct {
	Issuer         string         // required: the URL that clients know us by, without a slash at its end
	Log            *slog.Logger   // required
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed; none: nobody's
	MaxConcurrent  int            // exchanges at a time; zero: 512
	MaxConnections int            // of clients; zero: 768
	Grace          time.Duration  // for exchanges in flight when we stop; zero: DefaultGrace
	Algorithms     []string       // that tokens are signed with; zero: EdDSA
	TLS            *tls.Config    // of the public listener; nil: plain HTTP
	Version        string         // of the program, for /metrics
	Tracer         Tracer         // nil: nothing is traced

	FailureLimit verifier.Rate // of bad keys and credentials; zero: failures.DefaultLimit

	// ClientCAs returns the authorities that name clients by the certificates that they
	// make for them. Nil: there are none. Certificates count only if TLS asks for them,
	// and is then to leave it to us what they prove (tls.RequestClientCert).
	ClientCAs func() *x509.CertPool

	Now func() time.Time // for limits of failures and what clients sign; zero: time.Now
}

// Server answers HTTP.
type Server struct {
	parts    atomic.Pointer[Parts] // nil: not open yet
	log      *slog.Logger
	issuer   string
	now      func() time.Time
	used     *usedOnce // assertions
	metadata document
	openapi  document
	base     string        // the issuer's path
	slots    chan struct{} // one for every exchange that runs
	failures *failures.Limiter
	bodies   bodies
	most     int // connections of clients
	grace    time.Duration
	tls      *tls.Config
	cas      func() *x509.CertPool
	public   *echo.Echo
	ops      *echo.Echo
	stopping atomic.Bool
	metrics  *Metrics
	tracer   Tracer                 // or nil
	unready  atomic.Pointer[string] // the part that /readyz last found amiss; empty, or nil: none
}

// New fails if something required is missing, or if the issuer is not a URL
// that metadata can be published under (RFC 8414 §2).
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		return nil, errors.New("httpapi: Config.Log is required")
	}
	base, err := issuer.Path(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("httpapi: Config.Issuer %w", err)
	}
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = []string{issuer.EdDSA}
	}
	metadata, err := newMetadata(cfg.Issuer, cfg.Algorithms, cfg.authMethods())
	if err != nil {
		return nil, err
	}
	openapi, err := newOpenAPI(cfg.Issuer)
	if err != nil {
		return nil, err
	}
	if cfg.MaxConcurrent <= 0 {
		cfg.MaxConcurrent = 512
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultConnections
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	limiter, err := failures.New(failures.Config{Limit: cfg.FailureLimit, Log: cfg.Log, Now: cfg.Now})
	if err != nil {
		return nil, fmt.Errorf("httpapi: Config.FailureLimit: %w", err)
	}
	s := &Server{
		log:      cfg.Log,
		issuer:   cfg.Issuer,
		now:      cfg.Now,
		used:     newUsedOnce(maxUsed, maxUsedByEach),
		metadata: metadata,
		openapi:  openapi,
		base:     base,
		slots:    make(chan struct{}, cfg.MaxConcurrent),
		failures: limiter,
		bodies:   bodies{most: maxBodies},
		most:     cfg.MaxConnections,
		grace:    cfg.Grace,
		tls:      cfg.TLS,
		cas:      cfg.ClientCAs,
		metrics:  newMetrics(cfg.Version, cfg.Algorithms),
		tracer:   cfg.Tracer,
	}
	s.metrics.registry.MustRegister(gauges{s})
	s.public = s.publicRoutes(base, clientAddress(cfg.TrustedProxies))
	s.ops = s.operationsRoutes()
	return s, nil
}

// Parts are what a Server needs a database for.
type Parts struct {
	Exchange *exchange.Exchange              // required
	Keys     *issuer.Keyring                 // managed at /v1/signing-keys; nil: nothing is managed here
	Manage   *manage.Manager                 // likewise
	Refusals *audit.Recorder                 // of clients that are not authenticated; nil: they are not counted
	JWKS     func() issuer.JWKS              // required: the key set, from memory
	Statuses *issuer.StatusLists             // required
	Ready    func(ctx context.Context) error // does the store answer? nil: always
	Watched  Watched                         // for /metrics alone
}

// Open begins to answer exchanges. Until then, while a database is away at
// start-up, they are told to come back, and /readyz says no.
func (s *Server) Open(p Parts) error {
	if p.Exchange == nil || p.JWKS == nil || p.Statuses == nil {
		return errors.New("httpapi: Parts.Exchange, Parts.JWKS and Parts.Statuses are required")
	}
	if p.Ready == nil {
		p.Ready = func(context.Context) error { return nil }
	}
	s.parts.Store(&p)
	return nil
}

// Public answers clients and backends.
func (s *Server) Public() http.Handler { return s.public }

// Operations answers whoever runs us, on a listener that nobody else reaches.
func (s *Server) Operations() http.Handler { return s.ops }

// Run serves both listeners until ctx is done or one of them fails, and closes
// them. Exchanges in flight then finish, for at most Config.Grace, while /readyz
// already says no. Run returns nil if all of them did.
func (s *Server) Run(ctx context.Context, public, ops net.Listener) error {
	outlives := context.WithoutCancel(ctx) // requests do not end with ctx
	servers := []*http.Server{s.newHTTP(outlives, s.public, s.most), s.newHTTP(outlives, s.ops, operationsConnections)}
	servers[0].TLSConfig = s.tls.Clone()
	servers[0].ConnState = s.metrics.connected(servers[0].ConnState)

	ended := make(chan error, len(servers))
	var serving sync.WaitGroup
	for i, listener := range []net.Listener{public, ops} {
		serving.Go(func() { ended <- serve(servers[i], listener) })
	}
	counting, end := context.WithCancel(outlives)
	serving.Go(func() { s.failures.Run(counting) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	s.stopping.Store(true)
	for _, srv := range servers { // the public one first: /readyz answers to the end
		err = errors.Join(err, s.stop(outlives, srv))
	}
	end()
	serving.Wait()
	return err
}

func (s *Server) newHTTP(base context.Context, h http.Handler, most int) *http.Server {
	return &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         newConnections(most, s.log).changed,

		DisableGeneralOptionsHandler: true, // OPTIONS * is a path that is not there
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // mostly failed handshakes
	}
}

func serve(srv *http.Server, l net.Listener) error {
	var err error
	if srv.TLSConfig != nil {
		err = srv.ServeTLS(l, "", "")
	} else {
		err = srv.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving %s: %w", l.Addr(), err)
}

// stop waits for the requests in flight, and cuts them off when their time is up.
func (s *Server) stop(ctx context.Context, srv *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, s.grace)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests still in flight after %s: %w", s.grace, err), srv.Close())
	}
	return nil
}
