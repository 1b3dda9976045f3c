package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/seal"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"
	"berth/queue"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func init() { logging.Disable() } // go-redis tells stderr of every Redis that is meant to be away

var alice = ide.Principal{Name: "alice", Role: ide.Client}

// bench is a Redis and a Swarm of one node that workers share.
type bench struct {
	*testing.T
	rdb    *redis.Client
	st     *store.Store
	engine *swarmtest.Server
	deps   *functions.Deps
	log    *buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	box, err := seal.New("secret-key-secret-key-secret-key-secret")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, rdb: redistest.New(t), engine: swarmtest.NewServer(t), log: &buffer{}}
	client, err := swarm.New(swarm.Config{Host: b.engine.Host(), Instance: "test", Tolerance: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	b.st = store.New(b.rdb, store.Config{LeaseTTL: 30 * time.Second})
	b.deps = &functions.Deps{Store: b.st, Queue: queue.New(b.rdb).Within(time.Minute), Swarm: client, Box: box, HTTP: inside(t),
		Log: slog.New(slog.NewJSONHandler(b.log, nil)),
		Settings: functions.Settings{RequestTimeout: time.Minute, URLScheme: "http", ContainerDomain: "ide.test", EdgeURL: "http://edge.test", Templates: []ide.Template{{Name: "default", Image: "berth/ide:slim"}},
			Resources: ide.Resources{CPULimit: 1e9, MemoryLimit: 1 << 30, CPUReservation: 1e8, MemoryReservation: 64 << 20}}}
	return b
}

// inside is a client to which every agent and every URL says that it is up.
func inside(t *testing.T) *http.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"ready":true}`)) }))
	t.Cleanup(srv.Close)
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) worker(cfg Config) *Worker {
	cfg.Version = "v9"
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 4
	}
	return New(b.rdb, b.deps, cfg)
}

// run lets a worker work until stop is called, which returns what Run does.
func (b *bench) run(cfg Config) (w *Worker, stop func() error) {
	b.Helper()
	w = b.worker(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	b.Cleanup(func() { _ = stop() })
	b.until("the worker reports its node", func() bool {
		list, err := b.st.Workers(b.Context(), time.Minute)
		nodes, nerr := b.st.Nodes(b.Context())
		return err == nil && nerr == nil && len(list) > 0 && len(nodes) > 0
	})
	return w, stop
}

// until polls. Its limit counts looks, not time: a machine that stands still
// makes none.
func (b *bench) until(what string, ok func() bool) {
	b.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatalf("did not happen in time: %s; log:\n%s", what, b.log)
}

func (b *bench) job(id string) ide.Job {
	b.Helper()
	j, err := b.st.Job(b.Context(), id)
	b.must(err)
	return j
}

// ends waits for the end of a job.
func (b *bench) ends(id string, want ide.JobStatus) {
	b.Helper()
	b.until(id+" ends", func() bool { return b.job(id).Status.Ended() })
	if j := b.job(id); j.Status != want {
		b.Fatalf("%s is %s (%v), want %s", id, j.Status, j.Error, want)
	}
}

// atStep waits until a job is at a step.
func (b *bench) atStep(id, step string) {
	b.Helper()
	b.until(id+" is at step "+step, func() bool {
		steps := b.job(id).Steps
		return len(steps) > 0 && steps[len(steps)-1].Name == step
	})
}

func (b *bench) create() store.Admitted {
	b.Helper()
	out, err := functions.CreateContainer.Enqueue(b.Context(), b.deps, alice, &functions.CreateContainerArgs{Body: functions.CreateContainerRequest{S3Bucket: "workspace"}})
	b.must(err)
	return out
}

func (b *bench) container(id string) ide.Container {
	b.Helper()
	c, err := b.st.Container(b.Context(), id)
	b.must(err)
	return c
}

// buffer is a log that tests read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestRunWorksOnJobs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, stop := b.run(Config{Grace: time.Second})
	out := b.create()
	b.ends(out.Job.ID, ide.JobSucceeded)
	if c := b.container(out.Container.ID); c.Status != ide.Running || c.Address == "" {
		t.Errorf("got %+v, want it running", c)
	}
	down, err := functions.StopContainer.Enqueue(t.Context(), b.deps, alice, &functions.StopContainerArgs{ID: out.Container.ID})
	b.must(err)
	b.ends(down.Job.ID, ide.JobSucceeded)
	if err := stop(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if list, err := b.st.Workers(t.Context(), time.Hour); err != nil || len(list) != 0 {
		t.Errorf("it did not sign off: %v, %v", list, err)
	}
}

func TestRunNeedsRedis(t *testing.T) {
	t.Parallel()
	away := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", MaxRetries: -1, DialerRetries: 1})
	defer away.Close()
	deps := &functions.Deps{Store: store.New(away, store.Config{}), Log: slog.New(slog.DiscardHandler)}
	if err := New(away, deps, Config{}).Run(t.Context()); !ide.HasCode(err, ide.QueueUnavailable) {
		t.Errorf("got %v, want QUEUE_UNAVAILABLE", err)
	}
}

func TestEndOfAWorkerLetsJobsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, stop := b.run(Config{Grace: time.Minute})
	release := b.engine.Hang("POST", "/services/create")
	out := b.create()
	b.atStep(out.Job.ID, "service")
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	b.until("it drains", func() bool { return strings.Contains(b.log.String(), "worker drains") })
	later := b.create() // nobody takes it any more
	select {
	case err := <-ended:
		t.Fatalf("Run ended with %v while a job runs", err)
	default:
	}
	release()
	b.must(<-ended)
	if j := b.job(out.Job.ID); j.Status != ide.JobSucceeded || j.Attempt != 1 {
		t.Errorf("got %s in attempt %d, want succeeded in the first", j.Status, j.Attempt)
	}
	if j := b.job(later.Job.ID); j.Status != ide.JobQueued {
		t.Errorf("a worker that is to end took a job: %s", j.Status)
	}
}

func TestEndOfGraceHandsJobsBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, stop := b.run(Config{Grace: 50 * time.Millisecond})
	release := b.engine.Hang("POST", "/services/create")
	out := b.create()
	b.atStep(out.Job.ID, "service")
	begun := time.Now()
	b.must(stop())
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if j := b.job(out.Job.ID); j.Status != ide.JobQueued || j.Attempt != 0 {
		t.Errorf("got %s after attempt %d, want it queued and the attempt not counted", j.Status, j.Attempt)
	}
	release()
	b.run(Config{})
	b.ends(out.Job.ID, ide.JobSucceeded)
	if j := b.job(out.Job.ID); j.Attempt != 1 {
		t.Errorf("got attempt %d, want 1", j.Attempt)
	}
}

func TestATaskThatCannotBeReadIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.worker(Config{}).job(t.Context(), asynq.NewTask(queue.JobTask, []byte("{"))); !errors.Is(err, asynq.SkipRetry) {
		t.Errorf("got %v, want it given up", err)
	}
}

func TestLostDeliveryComesAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.worker(Config{}).report(t.Context()))
	out := b.create()
	b.must(asynq.NewInspectorFromRedisClient(b.rdb).DeleteTask(queue.Default, out.Job.ID+"#1"))
	b.must(b.worker(Config{}).deliverDue(t.Context()))
	if s, err := b.deps.Queue.State(out.Job.ID, 1, queue.Default); err != nil || s != queue.Waiting {
		t.Errorf("got state %d, %v, want waiting", s, err)
	}
}

func TestRetryDelay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		n    int
		err  error
		want time.Duration
	}{
		{"a job says when", 7, &functions.RetryError{After: 1234 * time.Millisecond, Err: errors.New("x")}, 1234 * time.Millisecond},
		{"also wrapped", 0, fmt.Errorf("job: %w", &functions.RetryError{After: time.Minute, Err: errors.New("x")}), time.Minute},
		{"first failure of another", 0, errors.New("x"), time.Second},
		{"third", 2, errors.New("x"), 4 * time.Second},
		{"many", 5, errors.New("x"), 30 * time.Second},
		{"too many to shift", 1000, errors.New("x"), 30 * time.Second},
	} {
		if got := retryDelay(tc.n, tc.err, nil); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestLoopLogsWhenItBeginsToFailAndWhenItWorksAgain(t *testing.T) {
	t.Parallel()
	b := &bench{T: t, log: &buffer{}}
	w := New(nil, &functions.Deps{Log: slog.New(slog.NewTextHandler(b.log, nil))}, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	w.every(ctx, time.Millisecond, "sweep", func(context.Context) error {
		switch calls++; {
		case calls == 3:
			return nil
		case calls == 5:
			cancel()
			return ctx.Err() // the end of the loop, no failure of its own
		case calls < 3:
			return errors.New("engine away")
		}
		return nil
	})
	log := b.log.String()
	if calls != 5 || strings.Count(log, "loop fails") != 1 || strings.Count(log, "loop works again") != 1 || !strings.Contains(log, "engine away") {
		t.Errorf("after %d calls the log is:\n%s", calls, log)
	}
}

func TestAsynqsLinesAreLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := asynqLog{slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	l.Debug("a", 1)
	l.Info("b")
	l.Warn("c")
	l.Error("d")
	l.Fatal("e") // must not end the process
	for _, want := range []string{"DEBUG msg=asynq line=a1", "INFO msg=asynq line=b", "WARN msg=asynq line=c", "ERROR msg=asynq line=d", "ERROR msg=asynq line=e"} {
		if !strings.Contains(out.String(), "level="+want) {
			t.Errorf("the log lacks %q:\n%s", want, out.String())
		}
	}
}
