package httpapi

import (
	"net/http"

	"github.com/cambio-auth/cambio/internal/client"
	"github.com/cambio-auth/cambio/internal/wire"
	"github.com/cambio-auth/cambio/verifier"
)

// maxLeaks is the largest report, in bytes.
const maxLeaks = 64 << 10

func leakOperations() []operation {
	return []operation{{method: http.MethodPost, path: wire.PathLeaks, rights: []client.Right{client.LeaksReport}, body: maxLeaks, once: true, do: reportLeaks}}
}

// reportLeaks is POST /v1/leaks. What was found comes back in its order, and is never
// repeated. A report may be sent again as it is: what it revoked stays revoked.
func reportLeaks(r *request) (result, error) {
	keys := zero(given[[]string](r.body, "keys"))
	r.reason()
	if err := r.body.wrong(nil); err != nil {
		return result{}, err
	}
	found := make([]verifier.Secret, len(keys))
	for i, key := range keys {
		found[i] = verifier.NewSecret(key)
	}
	leaks, err := r.manager().ReportLeaks(r.ctx, found)
	if err != nil {
		return result{}, err
	}
	return result{body: map[string][]wire.Leak{"results": leaks}}, nil
}
