package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

var allContainers = store.Filter{Limit: 100}

func TestImageMissing(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	c.worker("n1")
	s := ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start", `{"s3Bucket":"workspace","image":"berth/nobody:1"}`)
	j := c.wait(s.Job.ID, patience)
	if j.Status != ide.JobFailed || j.Error == nil || j.Error.Code != ide.ContainerStartFailed || !strings.Contains(j.Error.Message, "berth/nobody:1") {
		t.Errorf("got %s, %+v, want a failure whose sentence names the image", j.Status, j.Error)
	}
	got := c.get(s.ID)
	if got.Status != ide.Failed || got.Error == nil || got.ShutdownReason != ide.ByError {
		t.Errorf("got %+v", got)
	}
	if m := c.made(); len(m.services)+len(m.secrets) > 0 {
		t.Errorf("left behind: %+v", m)
	}
	if n, _ := c.rdb.HLen(context.Background(), "{berth}:res").Result(); n != 0 {
		t.Errorf("%d reservations are left", n)
	}
}

func TestEngineDownAndBack(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	proxy := newEngineProxy(t, c.lab.Nodes[0].Sock)
	c.worker("n1", "DOCKER_HOST="+proxy.Host)
	proxy.setDown(true)
	s := c.create()
	c.eventually("the job is handed back", patience, func() error {
		j := ask[ide.Job](c, http.StatusOK, "GET", "/api/jobs/"+s.Job.ID, "")
		if j.Status != ide.JobQueued || j.Error == nil || j.Error.Code != ide.Docker {
			return fmt.Errorf("got %s, %+v", j.Status, j.Error)
		}
		return nil
	})
	proxy.setDown(false)
	if j := c.succeed(s.Job.ID); j.Attempt != 1 { // another worker might have had an engine
		t.Errorf("got %d attempts, want that those without an engine do not count", j.Attempt)
	}
}

func TestRedisDownAndBack(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	c.worker("n1")
	s := c.create()
	c.succeed(s.Job.ID)
	c.end(c.redis, syscall.SIGKILL)
	a, err := c.call("POST", "/api/containers/start", `{"s3Bucket":"workspace"}`)
	if err != nil || a.status != http.StatusServiceUnavailable || a.code() != ide.QueueUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("got %s, %v", a, err)
	}
	if a, err := c.call("GET", "/api/health", ""); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("health: got %s, %v", a, err)
	}
	if got := c.open(s.URLs.Code).status; got >= 500 {
		t.Errorf("an open IDE must not suffer: got %d", got)
	}
	c.startRedis()
	c.eventually("starts work again", patience, func() error {
		a, err := c.call("GET", "/api/health", "")
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%s, %v", a, err)
		}
		return nil
	})
	if c.get(s.ID).Status != ide.Running {
		t.Error("the running container was forgotten")
	}
	c.succeed(c.create().Job.ID)
}

func TestDeliveryLostAndDoubled(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	node := c.worker("n1")
	c.end(node, syscall.SIGTERM) // admission believes its report for 30 s
	longest := pulse(t)
	lost, doubled := c.create(), c.create()
	ctx := context.Background()
	keys, err := c.rdb.Keys(ctx, "asynq:*"+lost.Job.ID+"*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatalf("found no delivery: %v", err)
	}
	if err := c.rdb.Del(ctx, keys...).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.rdb.LRem(ctx, "asynq:{default}:pending", 0, lost.Job.ID+"#1").Err(); err != nil {
		t.Fatal(err)
	}
	q := queue.New(c.rdb)
	for n := range 5 {
		if err := q.Deliver(ctx, doubled.Job.ID, n+2, queue.Default, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now()
	c.worker("n1")
	c.succeed(doubled.Job.ID)
	if j := c.succeed(lost.Job.ID); j.StartedAt.Sub(started) > takeover {
		t.Errorf("the lost delivery was made good after %s", j.StartedAt.Sub(started))
	}
	if got := len(c.made().services); got != 2 {
		t.Errorf("the engine has %d services, want 2", got)
	}
	one(t, c.wait(doubled.Job.ID, patience), longest, "five more deliveries")
}

func TestWorkerDrainsAndHandsBack(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	proxy := newEngineProxy(t, c.lab.Nodes[0].Sock)
	longest := pulse(t)
	w := c.worker("n1", "DOCKER_HOST="+proxy.Host, "WORKER_GRACE=1s")
	proxy.arm(at("service", `^POST /services/create$`))
	s := c.create()
	proxy.await(t)
	done := make(chan struct{})
	go func() { defer close(done); c.end(w, syscall.SIGTERM) }()
	c.worker("n1")
	j := c.succeed(s.Job.ID)
	<-done
	one(t, j, longest, "a worker that drains costs none")
	if !strings.Contains(w.log.String(), "job handed back") {
		t.Errorf("the worker did not hand the job back:\n%s", tail(w.log.String()))
	}
}

// TestSameKeyManyTimes sends one request many times at once.
func TestSameKeyManyTimes(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	c.worker("n1")
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a, err := c.call("POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, "Idempotency-Key", "once")
			if err != nil || a.status != http.StatusAccepted {
				t.Errorf("got %s, %v", a, err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[string(a.body)]++
		})
	}
	wg.Wait()
	if len(answers) != 1 {
		t.Errorf("got %d different answers", len(answers))
	}
	if a, _ := c.call("POST", "/api/containers/start", `{"s3Bucket":"another"}`, "Idempotency-Key", "once"); a.status != http.StatusUnprocessableEntity || a.code() != ide.IdempotencyKeyReused {
		t.Errorf("the key with another body: got %s", a)
	}
	list, total, err := c.store.Containers(context.Background(), allContainers)
	if err != nil || total != 1 {
		t.Fatalf("got %d containers, %v", total, err)
	}
	c.succeed(list[0].Job)
	if got := len(c.made().services); got != 1 {
		t.Errorf("got %d services", got)
	}
	stop := func() answer {
		a, err := c.call("DELETE", "/api/containers/"+list[0].ID, "", "Idempotency-Key", "stop-once")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := stop()
	c.succeed("container-stop:" + list[0].ID + ":1")
	if again := stop(); again.status != http.StatusAccepted || string(again.body) != string(first.body) {
		t.Errorf("a stop asked for again, when it is done: got %s, want the first answer %s", again, first)
	}
}
