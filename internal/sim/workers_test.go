package sim

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/seal"
	"berth/worker"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// TestMain is also what TestSim starts as a process of workers.
func TestMain(m *testing.M) {
	if engines := os.Getenv("SIM_ENGINES"); engines != "" {
		work(strings.Split(engines, ","))
		return
	}
	if os.Getenv("SIM_INSIDE") != "" {
		inside()
		return
	}
	os.Exit(m.Run())
}

// work runs a worker for each engine until the process is told to end.
func work(engines []string) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	box, err := seal.New(secretKey)
	if err != nil {
		panic(err)
	}
	var group errgroup.Group
	for _, engine := range engines {
		time.Sleep(10 * time.Second / time.Duration(len(engines))) // nodes do not report all at one time
		rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: os.Getenv("SIM_REDIS")})
		w := worker.New(rdb, deps(rdb, box, engine, log), worker.Config{Version: "sim", Concurrency: 64, Grace: time.Second, LogRate: 500})
		group.Go(func() error { return w.Run(ctx) })
	}
	if err := group.Wait(); err != nil {
		log.Error("workers end", "err", err)
	}
}

// inside answers for all agents, at the address that each task has, and for
// the edge.
func inside() {
	answer := func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now().UTC().Format(time.RFC3339Nano)
		fmt.Fprintf(w, `{"ready":true,"now":%q,"cpuSeconds":1,"lastActivity":{"at":%q,"source":"editor"}}`, now, now)
	}
	var group errgroup.Group
	for _, at := range []string{fmt.Sprintf(":%d", ide.AgentPort), edge} {
		group.Go(func() error { return http.ListenAndServe(at, http.HandlerFunc(answer)) })
	}
	panic(group.Wait())
}
