package httpapi

import "iter"

// Routes are the methods and paths that the public handler answers.
func (s *Server) Routes() iter.Seq2[string, string] {
	return func(yield func(method, path string) bool) {
		for _, r := range s.public.Routes() {
			if r.Method != "echo_route_not_found" && !yield(r.Method, r.Path) {
				return
			}
		}
	}
}

// Base is the path of the issuer.
func (s *Server) Base() string { return s.base }
