package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
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
	"berth/queue"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func init() { logging.Disable() } // go-redis tells stderr of every Redis that is meant to be away

const (
	rootKey  = "root-key-root-key-root-key-root-key-root"
	aliceKey = "alice-key-alice-key-alice-key-alice-key"
	bobKey   = "bob-key-bob-key-bob-key-bob-key-bob-key"
	viewKey  = "view-key-view-key-view-key-view-key-view"
)

var (
	alice = ide.Principal{Name: "alice", Role: ide.Client}
	bob   = ide.Principal{Name: "bob", Role: ide.Client}
)

// bench is an API on a Redis of the test's own, with one node to place on.
type bench struct {
	*testing.T
	api  http.Handler
	st   *store.Store
	deps *functions.Deps
	rdb  *redis.Client
	log  *buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := benchOn(t, redistest.New(t))
	if err := b.st.PublishNodes(t.Context(), []ide.Node{{ID: "n1", Hostname: "node-1", CPU: 64e9, Memory: 64 << 30, State: "ready", Availability: "active",
		Filtered: true, At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	return b
}

// follow has the API hear of events, which waiting needs. It ends a second
// late: a read of the stream blocks so long.
func (b *bench) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.st.Follow(ctx, slog.New(slog.DiscardHandler)) }()
	b.Cleanup(func() { cancel(); <-done })
}

// benchWithoutRedis is an API whose Redis is gone.
func benchWithoutRedis(t *testing.T) *bench {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { rdb.Close() })
	return benchOn(t, rdb)
}

func benchOn(t *testing.T, rdb *redis.Client) *bench {
	t.Helper()
	box, err := seal.New("secret-key-secret-key-secret-key-secret")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, rdb: rdb, log: &buffer{}, st: store.New(rdb, store.Config{})}
	b.deps = &functions.Deps{Store: b.st, Queue: queue.New(rdb).Within(time.Minute), Box: box, Log: slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Settings: functions.Settings{URLScheme: "http", ContainerDomain: "ide.test", Templates: []ide.Template{{Name: "default", Image: "berth/ide:slim"}}, AWSRegion: "us-east-1",
			Resources: ide.Resources{CPULimit: 15e8, MemoryLimit: 2 << 30, CPUReservation: 1e8, MemoryReservation: 64 << 20}}}
	b.api = New(b.deps, Config{Version: "v9", Durability: "aof", Isolation: true, Keys: []Key{{"root", ide.Admin, rootKey}, {"alice", ide.Client, aliceKey},
		{"bob", ide.Client, bobKey}, {"eve", ide.Viewer, viewKey}}})
	return b
}

// call sends a request; headers are pairs of name and value.
func (b *bench) call(key, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	b.Helper()
	r := httptest.NewRequestWithContext(b.Context(), method, target, strings.NewReader(body))
	r.Host = "berth.test"
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	conforms(b, method, target, w)
	return w
}

// get reads as somebody and decodes the answer.
func (b *bench) get(key, target string, out any) {
	b.Helper()
	b.read(b.call(key, http.MethodGet, target, ""), http.StatusOK, out)
}

func (b *bench) read(w *httptest.ResponseRecorder, status int, out any) {
	b.Helper()
	if w.Code != status {
		b.Fatalf("got %d %s, want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
		b.Fatalf("decode %s: %v", w.Body, err)
	}
}

// refused checks that an answer is our envelope, and returns its error.
func (b *bench) refused(w *httptest.ResponseRecorder, status int, code ide.Code, path string) ide.Error {
	b.Helper()
	var e struct {
		Error     *ide.Error
		Timestamp time.Time
		Path      string
	}
	dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || e.Error == nil {
		b.Fatalf("%d %s is no envelope: %v", w.Code, w.Body, err)
	}
	if w.Code != status || e.Error.Code != code || e.Path != path {
		b.Errorf("got %d %s of %s (%s), want %d %s of %s", w.Code, e.Error.Code, e.Path, e.Error.Message, status, code, path)
	}
	if e.Error.Message == "" || time.Since(e.Timestamp).Abs() > time.Minute || e.Timestamp.Location() != time.UTC {
		b.Errorf("message %q, timestamp %v", e.Error.Message, e.Timestamp)
	}
	if h := w.Header(); h.Get("X-Request-ID") == "" || h.Get("Content-Type") != "application/json" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
		b.Errorf("got headers %v", h)
	}
	return *e.Error
}

// create asks for a container.
func (b *bench) create(p ide.Principal, bucket string) store.Admitted {
	b.Helper()
	out, err := functions.CreateContainer.Enqueue(b.Context(), b.deps, p, &functions.CreateContainerArgs{Body: functions.CreateContainerRequest{S3Bucket: bucket, VNCPassword: "hunter22"}})
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// update changes a container's record.
func (b *bench) update(id string, change func(*ide.Container)) {
	b.Helper()
	if _, err := b.st.Update(b.Context(), id, func(c *ide.Container) error { change(c); return nil }); err != nil {
		b.Fatal(err)
	}
}

// end ends a job as a worker does.
func (b *bench) end(job string, status ide.JobStatus, why *ide.Error) {
	b.Helper()
	h, err := b.st.Take(b.Context(), job, 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	h.Job.Error = why
	if _, err := h.End(b.Context(), status); err != nil {
		b.Fatal(err)
	}
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

// zAt places an ID in an index of creation.
func zAt(id string, second int) redis.Z { return redis.Z{Score: float64(second), Member: id} }
