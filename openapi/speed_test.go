package openapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/seal"
	"berth/internal/store"
	"berth/queue"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// speed is an API, quiet, on a Redis of the benchmark's own with room without
// end.
func speed(b *testing.B) (http.Handler, *store.Store, *redis.Client) {
	b.Helper()
	box, err := seal.New("secret-key-secret-key-secret-key-secret")
	if err != nil {
		b.Fatal(err)
	}
	rdb := redistest.New(b)
	st := store.New(rdb, store.Config{CapacityMaxAge: time.Hour})
	nodes := make([]ide.Node, 3)
	for i := range nodes {
		nodes[i] = ide.Node{ID: fmt.Sprint("n", i), CPU: 1e15, Memory: 1 << 50, State: "ready", Availability: "active", Filtered: true, At: time.Now()}
	}
	if err := st.PublishNodes(b.Context(), nodes); err != nil {
		b.Fatal(err)
	}
	api := New(&functions.Deps{Store: st, Queue: queue.New(rdb).Within(time.Minute), Box: box, Log: slog.New(slog.DiscardHandler), Settings: functions.Settings{
		URLScheme: "https", ContainerDomain: "ide.test", Templates: []ide.Template{{Name: "default", Image: "ide:1"}}, AWSRegion: "us-east-1", MaxPerKey: 1e9,
		Resources: ide.Resources{CPULimit: 1e9, MemoryLimit: 1 << 30, CPUReservation: 25e7, MemoryReservation: 512 << 20},
	}}, Config{RateLimit: 1e9, Keys: []Key{{"alice", ide.Client, aliceKey}, {"eve", ide.Viewer, viewKey}}})
	return api, st, rdb
}

// percentile reports how long all but the slowest calls took at most.
func percentile(b *testing.B, took []time.Duration, p float64, name string) {
	slices.Sort(took)
	d := took[min(len(took)-1, int(float64(len(took))*p))]
	b.ReportMetric(float64(d.Microseconds())/1000, name)
}

// callers is how many ask at once.
const callers = 16

// round is how many starts and enqueues follow each other.
const round = 200

// inParallel does something n times by some callers and returns how long each
// took, and all together.
func inParallel(b *testing.B, n int, do func() error) (took []time.Duration, whole time.Duration) {
	b.Helper()
	took = make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				at := time.Now()
				if err := do(); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	return took, time.Since(began)
}

// BenchmarkStart is POST /api/containers/start until its 202, with key, rate
// limit, Idempotency-Key and reservation, against bare Enqueue of asynq on
// the same Redis. The goal is half of its rate.
func BenchmarkStart(b *testing.B) {
	api, _, rdb := speed(b)
	client := asynq.NewClientFromRedisClient(rdb)
	bare := func() error {
		_, err := client.EnqueueContext(b.Context(), asynq.NewTask("bare", []byte(`{"job":"container-create:k3xqh5zt2mwfa:1","number":1}`)),
			asynq.TaskID(ide.NewID()), asynq.Queue("bare"), asynq.Timeout(time.Minute), asynq.MaxRetry(10))
		return err
	}
	start := func() error {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/api/containers/start", strings.NewReader(`{"s3Bucket":"workspace","s3Prefix":"course-1/alice"}`))
		r.Header.Set("Authorization", "Bearer "+aliceKey)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", ide.NewID())
		w := httptest.NewRecorder()
		if api.ServeHTTP(w, r); w.Code != http.StatusAccepted {
			return fmt.Errorf("got %d %s", w.Code, w.Body)
		}
		return nil
	}
	b.ResetTimer()
	var took []time.Duration
	var starting, enqueuing time.Duration
	for left := b.N; left > 0; left -= round { // by turns: whatever else the machine does hits both
		n := min(left, round)
		some, whole := inParallel(b, n, start)
		took, starting = append(took, some...), starting+whole
		_, whole = inParallel(b, n, bare)
		enqueuing += whole
	}
	b.StopTimer()
	percentile(b, took, 0.5, "p50-ms")
	percentile(b, took, 0.99, "p99-ms")
	b.ReportMetric(float64(b.N)/starting.Seconds(), "starts/s")
	b.ReportMetric(float64(b.N)/enqueuing.Seconds(), "enqueues/s")
	b.ReportMetric(enqueuing.Seconds()/starting.Seconds(), "ratio")
}

// BenchmarkList is a page of 50 out of 100,000 containers. The goal is a p99
// of at most 10 ms.
func BenchmarkList(b *testing.B) {
	api, st, _ := speed(b)
	const many = 100_000
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range many / callers {
				_, err := st.Admit(b.Context(), store.Admission{Function: "container-create", MaxAttempts: 1, By: alice, Args: struct{}{},
					New: &ide.Container{ID: ide.NewID(), Run: 1, Owner: "alice", Status: ide.Starting, Image: "ide:1", CreatedAt: time.Now().UTC(),
						URLs: ide.MakeURLs("https", "k3xqh5zt2mwfa", "ide.test"), Labels: map[string]string{"course": "1"}, S3: ide.Bucket{Name: "workspace", Region: "us-east-1"}}})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ResetTimer()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, fmt.Sprintf("/api/containers?limit=50&offset=%d", i*50%many), nil)
		r.Header.Set("Authorization", "Bearer "+aliceKey)
		w := httptest.NewRecorder()
		at := time.Now()
		api.ServeHTTP(w, r)
		took = append(took, time.Since(at))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"total":100000`) {
			b.Fatalf("got %d %.200s", w.Code, w.Body)
		}
	}
	percentile(b, took, 0.5, "p50-ms")
	percentile(b, took, 0.99, "p99-ms")
}

// BenchmarkWait is how long after the end of a job a request that waits for
// it is answered. The goal is a p50 of at most 20 ms.
func BenchmarkWait(b *testing.B) {
	api, st, _ := speed(b)
	ctx, cancel := context.WithCancel(b.Context())
	followed := make(chan struct{})
	go func() { defer close(followed); _ = st.Follow(ctx, slog.New(slog.DiscardHandler)) }()
	defer func() { cancel(); <-followed }()
	var took []time.Duration
	for b.Loop() {
		id := ide.NewID()
		out, err := st.Admit(ctx, store.Admission{Function: "container-create", MaxAttempts: 1, By: alice, Args: struct{}{},
			New: &ide.Container{ID: id, Run: 1, Owner: "alice", Status: ide.Starting, CreatedAt: time.Now().UTC()}})
		if err != nil {
			b.Fatal(err)
		}
		answered := make(chan time.Time, 1)
		go func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/jobs/"+out.Job.ID+"?wait=30", nil)
			r.Header.Set("Authorization", "Bearer "+aliceKey)
			w := httptest.NewRecorder()
			if api.ServeHTTP(w, r); !strings.Contains(w.Body.String(), `"succeeded"`) {
				b.Errorf("got %d %s", w.Code, w.Body)
			}
			answered <- time.Now()
		}()
		h, err := st.Take(ctx, out.Job.ID, 1)
		if err != nil {
			b.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // the request waits by then
		if _, err := h.End(ctx, ide.JobSucceeded); err != nil {
			b.Fatal(err)
		}
		ended := time.Now()
		took = append(took, max(0, (<-answered).Sub(ended)))
	}
	percentile(b, took, 0.5, "p50-ms")
	percentile(b, took, 0.99, "p99-ms")
}
