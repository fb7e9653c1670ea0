package main

import (
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// sql FILE STATEMENT… runs statements on a database past Cambio, as somebody may who
// can write to the file. One of them must change something.
func cmdSQL(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	changed := int64(0)
	for _, statement := range args[1:] {
		result, err := db.Exec(statement)
		ts.Check(err)
		n, err := result.RowsAffected()
		ts.Check(err)
		changed += n
	}
	if changed == 0 {
		ts.Fatalf("nothing was changed")
	}
}

// refusedkey KEYFILE AUDIENCE exchanges a key until it is refused.
func cmdRefusedKey(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "the key is refused", func() bool {
		resp, err := http.DefaultClient.Do(exchangeRequest(ts, args[0], args[1]))
		ts.Check(err)
		ts.Check(resp.Body.Close())
		return resp.StatusCode == http.StatusBadRequest
	})
}

// chained FILE holds the lines of audit export to what its help says of their hashes.
func cmdChained(ts *testscript.TestScript, _ bool, args []string) {
	hash := make([]byte, sha256.Size)
	for line := range strings.Lines(readFile(ts, args[0])) {
		entry, rest, found := strings.Cut(line, `,"hash":"`)
		said, end, _ := strings.Cut(rest, `"`)
		sum := sha256.Sum256(append(hash, entry+"}"...))
		hash = sum[:]
		if !found || end != "}\n" || said != base64.RawURLEncoding.EncodeToString(hash) {
			ts.Fatalf("this line does not follow: %s", line)
		}
	}
}
