package logs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/store"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"
)

// running ships until the returned function is called.
func running(t *testing.T, tap *Tap, st *store.Store, log *slog.Logger) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); tap.Run(ctx, st, func() string { return "n1" }, log) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func TestLinesOfTheControlPlane(t *testing.T) {
	t.Parallel()
	st := store.New(redistest.New(t), store.Config{})
	tap := NewTap()
	var out bytes.Buffer
	own := slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})
	api, worker := tap.Logger(own, ide.SourceAPI), tap.Logger(own, ide.SourceWorker)
	stop := running(t, tap, st, slog.New(slog.DiscardHandler))
	api.Info("begins")
	api.Debug("a detail")
	worker.With("worker", "w1").WithGroup("engine").Warn("engine is away", "tries", 3)
	worker.Error("it fails", "err", "two\nlines")
	stop()
	got, _, err := st.LogTail(t.Context(), store.LogFilter{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []ide.LogLine{
		{Node: "n1", Source: ide.SourceAPI, Level: ide.LevelInfo, Text: "begins"},
		{Node: "n1", Source: ide.SourceWorker, Level: ide.LevelWarn, Text: "engine is away worker=w1 engine.tries=3"},
		{Node: "n1", Source: ide.SourceWorker, Level: ide.LevelError, Text: `it fails err="two\nlines"`},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ide.LogLine{}, "ID", "At")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(out.String(), "begins") || !strings.Contains(out.String(), `"msg":"engine is away"`) {
		t.Errorf("its own output is %s, want warnings and above as before", out.String())
	}
}

// TestLoggingNeverWaits: with no Redis a flood is dropped, which is told of
// once only and not by way of Redis, and counted.
func TestLoggingNeverWaits(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { rdb.Close() })
	tap := NewTap()
	var out bytes.Buffer
	stop := running(t, tap, store.New(rdb, store.Config{}), slog.New(slog.NewJSONHandler(&out, nil)))
	log := tap.Logger(slog.DiscardHandler, ide.SourceGateway)
	const flood = 10_000
	for i := range flood {
		log.Info("line", "n", i)
	}
	stop()
	if n := strings.Count(out.String(), "cannot be shipped"); n > 1 {
		t.Errorf("the trouble was told of %d times", n)
	}
	if n := tap.dropped.Load(); n < flood-5*perSecond-perSecond*30 || n >= flood {
		t.Errorf("%d of %d were dropped", n, flood)
	}

	st := store.New(redistest.New(t), store.Config{})
	dropped := tap.dropped.Load()
	stop = running(t, tap, st, slog.New(slog.DiscardHandler))
	want := fmt.Sprintf("%d lines of the control plane were dropped", dropped)
	for looks := 0; ; looks++ {
		got, _, err := st.LogTail(t.Context(), store.LogFilter{Text: want, Level: ide.LevelWarn}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 {
			break
		}
		if looks == 6000 {
			t.Fatalf("nothing says %q", want)
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
}
