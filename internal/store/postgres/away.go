package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Away reports whether err, of Open, says that there is no server to talk to now,
// which may be otherwise later: it cannot be reached, is starting or stopping,
// has no connection left, or is a standby that was not promoted yet.
func Away(err error) bool {
	switch code := codeOf(err); {
	case code == "57P03", code == "57P02", code == "57P01", code == "53300", code == "25006", strings.HasPrefix(code, "08") && code != "08P01":
		return true
	case code != "":
		return false
	}
	var unreachable *pgconn.ConnectError
	return errors.As(err, &unreachable) || errors.Is(err, errReadOnly) || errors.Is(err, errLost) || errors.Is(err, context.DeadlineExceeded)
}
