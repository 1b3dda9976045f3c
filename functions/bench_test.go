package functions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/seal"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"
	"berth/queue"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

var (
	admin = ide.Principal{Name: "admin", Role: ide.Admin}
	alice = ide.Principal{Name: "alice", Role: ide.Client}
	bob   = ide.Principal{Name: "bob", Role: ide.Client}
)

const defaultImage = "berth/ide:slim"

// bench is what functions touch: a Redis, a Swarm of one node, and whoever
// answers for containers. Nothing delivers: tests execute jobs themselves.
type bench struct {
	tb
	*Deps
	rdb    *redis.Client
	engine *swarmtest.Server
	inside *inside
	tasks  *asynq.Inspector
	log    *buffer
}

// tb is one level deeper than Deps, whose Log is meant by that name.
type tb struct{ testing.TB }

// newBench returns a bench whose Redis and Swarm are the test's own.
func newBench(t testing.TB) *bench {
	t.Helper()
	box, err := seal.New("secret-key-secret-key-secret-key-secret")
	if err != nil {
		t.Fatal(err)
	}
	rdb := redistest.New(t)
	b := &bench{tb: tb{t}, rdb: rdb, engine: swarmtest.NewServer(t), inside: newInside(t), tasks: asynq.NewInspectorFromRedisClient(rdb), log: &buffer{}}
	b.engine.OnStart(b.inside.started)
	engine := b.client(time.Minute)
	b.Deps = &Deps{
		Store: store.New(rdb, store.Config{LeaseTTL: 30 * time.Second}), Queue: queue.New(rdb).Within(time.Minute), Swarm: engine, Box: box, HTTP: b.inside.client(),
		Log: slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Settings: Settings{
			RequestTimeout: time.Minute, URLScheme: "http", ContainerDomain: "ide.test:8080", EdgeURL: "http://edge.test:8080",
			Templates: []ide.Template{{Name: "default", Image: defaultImage}}, ImageAllow: []string{"berth/*", "registry.test/ide:?"}, AWSRegion: "eu-central-1",
			Resources:    ide.Resources{CPULimit: 1e9, MemoryLimit: 1 << 30, CPUReservation: 25e7, MemoryReservation: 256 << 20, PIDs: 512},
			MaxResources: ide.Resources{CPULimit: 2e9, MemoryLimit: 4 << 30},
		},
	}
	b.must(engine.EnsureNetwork(t.Context()))
	b.publish()
	// the part of each node's worker
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	node := *b.Deps // a test may give the bench another store
	go func() {
		defer close(done)
		for pause(ctx, 10*time.Millisecond) == nil {
			_ = DropVolumes(ctx, &node, b.engine.NodeID()) // an engine that is down on purpose
		}
	}()
	return b
}

// client is one of the engine; its waits bear reads that fail for so long.
func (b *bench) client(tolerance time.Duration) *swarm.Client {
	b.Helper()
	c, err := swarm.New(swarm.Config{Host: b.engine.Host(), Instance: "test", Tolerance: tolerance})
	b.must(err)
	b.Cleanup(func() { c.Close() })
	return c
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// publish tells admission of the nodes, as a manager's worker does.
func (b *bench) publish() {
	b.Helper()
	nodes, err := b.Swarm.Nodes(b.Context())
	b.must(err)
	for i := range nodes {
		nodes[i].Filtered = true
	}
	b.must(b.Store.PublishNodes(b.Context(), nodes))
}

func (b *bench) job(id string) ide.Job {
	b.Helper()
	j, err := b.Store.Job(b.Context(), id)
	b.must(err)
	return j
}

func (b *bench) container(id string) ide.Container {
	b.Helper()
	c, err := b.Store.Container(b.Context(), id)
	b.must(err)
	return c
}

// execute works on one delivery of a job, which is to end with a status.
func (b *bench) execute(job string, want ide.JobStatus) {
	b.Helper()
	if err := Execute(b.Context(), b.Deps, newest(job)); err != nil {
		b.Fatalf("execute %s: %v", job, err)
	}
	if j := b.job(job); j.Status != want {
		b.Fatalf("%s is %s (%v), want %s", job, j.Status, j.Error, want)
	}
}

// delivery checks what the queue knows of a delivery.
func (b *bench) delivery(job string, number int, want queue.State) {
	b.Helper()
	got, err := b.Queue.State(job, number, registry[queue.FunctionOf(job)].Queue)
	if err != nil || got != want {
		b.Errorf("delivery %d of %s: got state %d, %v, want %d", number, job, got, err, want)
	}
}

// lose takes a delivery off the queue, as a worker does that acknowledges it.
func (b *bench) lose(job string, number int) {
	b.Helper()
	b.must(b.tasks.DeleteTask(registry[queue.FunctionOf(job)].Queue, fmt.Sprintf("%s#%d", job, number)))
}

// create asks for a container; nobody has worked on it yet.
func (b *bench) create(body CreateContainerRequest) store.Admitted {
	b.Helper()
	if body.S3Bucket == "" {
		body.S3Bucket = "workspace"
	}
	out, err := CreateContainer.Enqueue(b.Context(), b.Deps, alice, &CreateContainerArgs{Body: body})
	b.must(err)
	return out
}

// running returns a container that has come up.
func (b *bench) running() ide.Container {
	b.Helper()
	out := b.create(CreateContainerRequest{})
	b.execute(out.Job.ID, ide.JobSucceeded)
	return b.container(out.Container.ID)
}

// stop asks for a stop of a container.
func (b *bench) stop(a StopContainerArgs) store.Admitted {
	b.Helper()
	out, err := StopContainer.Enqueue(b.Context(), b.Deps, alice, &a)
	b.must(err)
	return out
}

// reserved returns what Redis holds as reserved on the node, CPU and memory.
func (b *bench) reserved() string {
	b.Helper()
	ctx := b.Context()
	return b.rdb.HGet(ctx, "{berth}:res:cpu", b.engine.NodeID()).Val() + " " + b.rdb.HGet(ctx, "{berth}:res:mem", b.engine.NodeID()).Val()
}

// left counts what the engine has of each kind: services, secrets, configs.
func (b *bench) left() string {
	b.Helper()
	count := func(kind string) int {
		var list []json.RawMessage
		b.must(json.Unmarshal([]byte(b.ask(kind)), &list))
		return len(list)
	}
	return fmt.Sprintf("%d services, %d secrets, %d configs", count("services"), count("secrets"), count("configs"))
}

// visitor has connections of its own: an httptest.Server that closes closes the
// idle ones of http.DefaultTransport, those of other tests with them.
var visitor = &http.Client{Transport: &http.Transport{}}

// ask returns the engine's list of a kind of thing.
func (b *bench) ask(kind string) string {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http"+strings.TrimPrefix(b.engine.Host(), "tcp")+"/"+kind, nil)
	b.must(err)
	res, err := visitor.Do(req)
	b.must(err)
	defer res.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(res.Body)
	b.must(err)
	return text.String()
}

// wantError checks code and class of an error.
func wantError(t *testing.T, what string, err error, code ide.Code, permanent bool) {
	t.Helper()
	if !ide.HasCode(err, code) || ide.IsPermanent(err) != permanent {
		t.Errorf("%s: got %v (permanent %t), want %s (permanent %t)", what, err, ide.IsPermanent(err), code, permanent)
	}
}

// retry checks that a delivery is to come again, about after a time.
func retry(t *testing.T, err error, about time.Duration) {
	t.Helper()
	var again *RetryError
	if !errors.As(err, &again) {
		t.Fatalf("got %v, want a RetryError", err)
	}
	if again.After < about*8/10 || again.After > about*12/10 {
		t.Errorf("got another try after %v, want about %v", again.After, about)
	}
}

// until polls. Its limit counts looks, not time: a machine that stands still
// makes none.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("did not happen in time: %s", what)
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
