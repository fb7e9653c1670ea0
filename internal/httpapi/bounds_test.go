package httpapi

import (
	"log/slog"
	"testing"
)

func TestEveryConnectionIsBounded(t *testing.T) {
	s := &Server{log: slog.New(slog.DiscardHandler)}
	srv := s.newHTTP(t.Context(), nil)
	if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.WriteTimeout <= srv.ReadTimeout || srv.IdleTimeout <= 0 {
		t.Errorf("time-outs: %+v", srv)
	}
	if srv.MaxHeaderBytes < 8<<10 || srv.MaxHeaderBytes > 16<<10 {
		t.Errorf("headers: %d bytes", srv.MaxHeaderBytes)
	}
}
