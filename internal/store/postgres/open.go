package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cambio-auth/cambio/issuer"
)

// Options changes how a store behaves.
type Options struct {
	MaxConns       int   // connections at a time; zero: pool_max_conns of the URL, or else 8
	StatusListSize int64 // entries of lists that are opened; zero: issuer.StatusListSize
	NoMigrate      bool  // fail with schema.ErrBehind where a migration is due

	Tracer pgx.QueryTracer // is told of every statement, and of connections if it wants; nil: nobody is
}

// defaultConns is enough for four groups in flight and some questions beside.
const defaultConns = 8

// connectTimeout bounds the attempt at each host, unless the URL says otherwise.
const connectTimeout = 5 * time.Second

// What is set on every connection, unless the URL says otherwise. The last ends a
// transaction, and lets go of its locks, when its server has stopped between its
// two round trips.
var settings = map[string]string{
	"application_name":                    "cambio",
	"plan_cache_mode":                     "force_generic_plan",
	"jit":                                 "off",
	"idle_in_transaction_session_timeout": "10s",
}

// prepared are the statements of an Update, prepared on every connection so that
// none takes a round trip more when it is first used.
var prepared = []string{begin, lockByDigests, selectVersions, updateBudgets, insertUses, commit, rollback}

// Open connects to the database that url names, as pgx reads it, and brings its
// schema up to date. It may name several hosts: with
// target_session_attrs=read-write, the one that accepts writes is found. ctx bounds
// the opening alone.
//
// Its errors begin with the setting that holds url, CAMBIO_STORE, never hold url or
// its password, and say what to do. A database of a newer schema is
// left as it is, and refused unless it takes binaries as old as this one.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	store, err := open(ctx, url, opts)
	if err != nil {
		return nil, openError(err)
	}
	return store, nil
}

func openError(err error) error { return fmt.Errorf("CAMBIO_STORE: PostgreSQL: %w", explain(err)) }

func open(ctx context.Context, url string, opts Options) (*Store, error) {
	cfg, err := configure(url, opts)
	if err != nil {
		return nil, err
	}
	if err := prepareSchema(ctx, cfg.ConnConfig, opts.NoMigrate); err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	store := &Store{pool: pool, listSize: cmp.Or(opts.StatusListSize, issuer.StatusListSize)}
	if err := store.Ping(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

func prepareSchema(ctx context.Context, cfg *pgx.ConnConfig, noMigrate bool) error {
	if !noMigrate {
		return migrate(ctx, cfg)
	}
	state, err := schemaState(ctx, cfg)
	if err != nil {
		return err
	}
	return state.Ready()
}

var (
	errURL = errors.New("the URL cannot be read; write postgres://USER:PASSWORD@HOST:5432/DATABASE, " +
		"with @ : / ? # and % in the password as %40 %3A %2F %3F %23 and %25")
	errConns = errors.New("the number of connections must be at least 1")
)

// configure says nothing of what is wrong with url: the parser's words would hold
// parts of it.
func configure(url string, opts Options) (*pgxpool.Config, error) {
	if misread(url) {
		return nil, errURL
	}
	given, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errURL
	}
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errURL
	}
	if opts.MaxConns < 0 {
		return nil, errConns
	}
	if _, said := given.RuntimeParams["pool_max_conns"]; opts.MaxConns > 0 || !said {
		cfg.MaxConns = int32(cmp.Or(opts.MaxConns, defaultConns))
	}
	cfg.ConnConfig.ConnectTimeout = cmp.Or(cfg.ConnConfig.ConnectTimeout, connectTimeout)
	cfg.ConnConfig.OnNotice = onNotice
	cfg.ConnConfig.Tracer = opts.Tracer
	// A transaction that finds its connection dead runs again on another, and does
	// not ask first: that would be a third round trip.
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	if cfg.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		params := maps.Clone(settings)
		maps.Copy(params, cfg.ConnConfig.RuntimeParams)
		cfg.ConnConfig.RuntimeParams = params
		cfg.AfterConnect = prepare
	}
	return cfg, nil
}

// misread reports whether a password that is not escaped has ended the authority
// too soon, so that a part of it would pass for a port, a path or a setting, and
// turn up in errors.
func misread(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return true
	}
	return u.User == nil && u.Host != "" && strings.Contains(raw, "@")
}

// prepare makes a new connection ready.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	if err := prepareCommits(ctx, conn); err != nil {
		return err
	}
	for _, sql := range prepared {
		if _, err := conn.Prepare(ctx, sql, sql); err != nil {
			return err
		}
	}
	return nil
}

// prepareCommits makes a commit be on the disk before COMMIT returns, whatever the
// server's default.
func prepareCommits(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false)
		WHERE current_setting('synchronous_commit') = 'off'`)
	return err
}

// explain says what to do about an error of opening, where it can.
func explain(err error) error {
	hint := map[string]string{
		"28000": "the server does not let this user in",
		"28P01": "user or password are wrong",
		"3D000": "the database does not exist; create it",
		"3F000": "no schema of its search_path exists; create one",
		"42501": "the user may not do that; let it own the database, or run a migration as its owner",
		"25006": "the server accepts no writes; name all hosts and target_session_attrs=read-write",
		"53300": "the server has too many connections; raise its max_connections or lower pool_max_conns",
		"08P01": "behind a pooler say default_query_exec_mode=exec",
	}[codeOf(err)]
	var unreachable *pgconn.ConnectError
	switch {
	case hint != "":
	case errors.Is(err, errReadOnly):
		hint = "name all hosts and target_session_attrs=read-write"
	case codeOf(err) == "" && errors.As(err, &unreachable):
		hint = "the server cannot be reached"
	default:
		return err
	}
	return fmt.Errorf("%s (%w)", hint, err)
}
