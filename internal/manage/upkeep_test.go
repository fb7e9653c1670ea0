package manage_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-auth/cambio/internal/manage"
	"github.com/cambio-auth/cambio/internal/store/sqlite"
)

func TestWhatARepeatWasAnsweredFromIsForgottenWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cambio.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		if _, err := manage.New(s).As(manage.By{Repeat: repeat(1, 1)}).CreateKeyspace(t.Context(), manage.NewKeyspace{Name: "live"}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), manage.RepeatWindow+2*time.Minute)
		defer stop()
		go manage.Upkeep(ctx, s, slog.New(slog.DiscardHandler))
		<-ctx.Done()
		synctest.Wait()
		if n, err := s.ForgetRepeats(t.Context(), 10); err != nil || n != 0 {
			t.Errorf("%d were left, %v", n, err)
		}
	})
}
