package importer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DefaultTable is what Better Auth calls its table.
const DefaultTable = "apikey"

const (
	fetch     = `FETCH 1000 FROM cambio_import`
	fetched   = 1000
	connectIn = 10 * time.Second
)

// BetterAuthTable reads the table of Better Auth's API-key plugin in a database of
// PostgreSQL, in the order of its ids, as it is when reading begins. The name of a
// table may have that of its schema before it, with a point. Columns that are not
// there are rows' members that are not there.
//
// Of a URL, no error says anything.
func BetterAuthTable(ctx context.Context, url, table string, rules Rules) Source {
	return mapped(tableRows(ctx, url, table), rules, true, betterAuth)
}

func tableRows(ctx context.Context, url, table string) iter.Seq2[text, error] {
	return func(yield func(text, error) bool) {
		conn, err := connect(ctx, url)
		if err != nil {
			yield(text{}, err)
			return
		}
		defer func() { _ = conn.Close(ctx) }() // it was only read from
		// The cursor sees the table as it is now, keeps the rows on the server, and each
		// question short, so that it may take any time to store them.
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
		if err == nil {
			name := pgx.Identifier(strings.Split(table, ".")).Sanitize()
			_, err = tx.Exec(ctx, `DECLARE cambio_import NO SCROLL CURSOR FOR SELECT row_to_json(t)::text FROM `+name+` t ORDER BY t.id`)
		}
		if err != nil {
			yield(text{}, fmt.Errorf("reading table %s: %w", table, explain(err)))
			return
		}
		pages(ctx, tx, yield)
	}
}

func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the URL of the database cannot be read; write postgres://USER@HOST:5432/DATABASE")
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectIn
	}
	cfg.RuntimeParams["application_name"] = "cambio import"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database to import from: %w", explain(err))
	}
	return conn, nil
}

// explain keeps the server's own words, and of anything else the last, which names
// neither user nor database.
func explain(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return fmt.Errorf("%s (SQLSTATE %s)", server.Message, server.Code)
	}
	var connecting *pgconn.ConnectError
	if !errors.As(err, &connecting) {
		return err
	}
	inner := connecting.Unwrap()
	for {
		next := errors.Unwrap(inner)
		if next == nil {
			return inner
		}
		inner = next
	}
}

// pages yields what the cursor has, a page at a time.
func pages(ctx context.Context, tx pgx.Tx, yield func(text, error) bool) {
	for number := 0; ; {
		rows, err := tx.Query(ctx, fetch)
		var page []string
		if err == nil {
			page, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			yield(text{}, fmt.Errorf("reading after row %d: %w", number, explain(err)))
			return
		}
		for _, row := range page {
			number++
			if !yield(text{number: number, json: []byte(row)}, nil) {
				return
			}
		}
		if len(page) < fetched {
			return
		}
	}
}
