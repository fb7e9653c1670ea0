package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ScratchPrefix begins the names of all schemas that OpenScratch makes.
const ScratchPrefix = "cambio_bench_"

// Scratch is a schema for measurements, beside the one of the servers and with
// nothing of it.
type Scratch struct {
	URL     string // opens a store in the schema; it ends with a setting, and holds the password of the database's
	Version string // of the server, and what makes its commits worth less
	Others  int    // connections of servers and commands to the same database

	conn *pgx.Conn
	name string
}

// dropping bounds how long Close waits for the database.
const dropping = 30 * time.Second

var errPath = errors.New("the connection does not keep its search_path, so what is measured would be written among the real keys; " +
	"give a URL that leads to PostgreSQL directly, past any pooler")

// OpenScratch makes an empty schema in the database that url names, whose own tables
// it neither reads nor changes. The user needs the right to create schemas. Its
// errors are like those of Open. ctx bounds the opening alone.
func OpenScratch(ctx context.Context, url string) (*Scratch, error) {
	s, err := openScratch(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("CAMBIO_STORE: PostgreSQL: %w", explain(err))
	}
	return s, nil
}

func openScratch(ctx context.Context, raw string) (_ *Scratch, err error) {
	cfg, err := configure(raw, Options{})
	if err != nil {
		return nil, err
	}
	s := &Scratch{name: ScratchPrefix + strings.ToLower(rand.Text())}
	s.URL = within(raw, s.name)
	inside, err := configure(s.URL, Options{})
	if err != nil {
		return nil, err
	}
	one := inside.ConnConfig
	servers := cmp.Or(cfg.ConnConfig.RuntimeParams["application_name"], settings["application_name"])
	one.RuntimeParams["application_name"] = "cambio bench"
	if s.conn, err = pgx.ConnectConfig(ctx, one); err != nil {
		return nil, err
	}
	if err := s.create(ctx, servers); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// within is raw with another search_path. Of settings that are said twice pgx takes
// the last, and what the user wrote is left as it is.
func within(raw, schema string) string {
	if strings.Contains(raw, "?") {
		return raw + "&search_path=" + schema
	}
	return raw + "?search_path=" + schema
}

func (s *Scratch) create(ctx context.Context, servers string) error {
	var fsync string
	err := s.conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync'),
		(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1)`, servers).
		Scan(&s.Version, &fsync, &s.Others)
	if err != nil {
		return err
	}
	if s.Version = "PostgreSQL " + s.Version; fsync == "off" {
		s.Version += ", fsync off"
	}
	if _, err := s.conn.Exec(ctx, `CREATE SCHEMA `+s.name); err != nil {
		return err
	}
	var current *string
	if err := s.conn.QueryRow(ctx, `SELECT current_schema()`).Scan(&current); err != nil {
		return err
	}
	if current == nil || *current != s.name {
		return errPath
	}
	if err := prepareCommits(ctx, s.conn); err != nil {
		return err
	}
	_, err = s.conn.Exec(ctx, `CREATE TABLE `+s.name+`.commits (n int)`)
	return err
}

// Commit commits one small row, as durably as a store does.
func (s *Scratch) Commit(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, `INSERT INTO `+s.name+`.commits VALUES (1)`)
	return err
}

// Close drops the schema with all that is in it. Whoever has it open loses it. Its
// error names a schema that is left.
func (s *Scratch) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), dropping)
	defer cancel()
	err := errors.Join(s.drop(ctx), s.conn.Close(ctx))
	if err != nil {
		err = fmt.Errorf("CAMBIO_STORE: PostgreSQL: the schema %s may be left; if it is, drop it: %w", s.name, err)
	}
	return err
}

// drop needs a connection of its own where a context that ended has closed the
// other.
func (s *Scratch) drop(ctx context.Context) (err error) {
	conn := s.conn
	if conn.IsClosed() {
		if conn, err = pgx.ConnectConfig(ctx, conn.Config()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	}
	_, err = conn.Exec(ctx, `DROP SCHEMA IF EXISTS `+s.name+` CASCADE`)
	return err
}
