package queue

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// inMemory runs the fallback on a snapshot file; closing is the test's.
func inMemory(t *testing.T, file string) *Redis {
	t.Helper()
	r, err := memory(t.Context(), file, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// everything returns what a Redis holds, by key, in a form to compare.
func everything(t *testing.T, c redis.UniversalClient) map[string]any {
	t.Helper()
	ctx := t.Context()
	all := map[string]any{}
	for _, k := range c.Keys(ctx, "*").Val() {
		var v any
		var err error
		switch kind := c.Type(ctx, k).Val(); kind {
		case "string":
			v, err = c.Get(ctx, k).Result()
		case "list":
			v, err = c.LRange(ctx, k, 0, -1).Result()
		case "set":
			v, err = c.SMembersMap(ctx, k).Result()
		case "hash":
			v, err = c.HGetAll(ctx, k).Result()
		case "zset":
			v, err = c.ZRangeWithScores(ctx, k, 0, -1).Result()
		case "stream":
			v, err = c.XRange(ctx, k, "-", "+").Result()
		default:
			err = fmt.Errorf("type %q", kind)
		}
		if err != nil {
			t.Fatalf("read %s: %v", k, err)
		}
		all[k] = v
	}
	return all
}

func TestSnapshotKeepsEveryKindOfKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "redis.snapshot")
	r := inMemory(t, file)
	if r.Durability != Snapshot {
		t.Errorf("got durability %q, want %q", r.Durability, Snapshot)
	}
	binary := string([]byte{0, 1, 0xff, '\r', '\n', 0x80})
	if _, err := r.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "string", binary, 0)
		p.Set(ctx, "empty", "", 0)
		p.Set(ctx, "lease", "token", time.Hour)
		p.RPush(ctx, "list", "b", "a", "b", binary)
		p.SAdd(ctx, "set", "x", "y")
		p.HSet(ctx, "hash", "msg", binary, "state", "pending", "none", "")
		p.ZAdd(ctx, "zset", redis.Z{Score: 1767225600123, Member: "due"}, redis.Z{Score: 0.25, Member: "half"}, redis.Z{Score: -1, Member: ""})
		p.XAdd(ctx, &redis.XAddArgs{Stream: "stream", ID: "1767225600000-0", Values: []string{"e", `{"a":"ü\n"}`}})
		p.XAdd(ctx, &redis.XAddArgs{Stream: "stream", ID: "1767225600000-1", Values: []string{"e", "2", "f", ""}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := everything(t, r.Client)
	if len(want) != 8 {
		t.Fatalf("got %d keys, want 8", len(want))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("snapshot: got %v, %v, want mode 0600", info, err)
	}
	again := inMemory(t, file)
	defer again.Close()
	if diff := cmp.Diff(want, everything(t, again.Client), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if ttl := again.Client.PTTL(ctx, "lease").Val(); ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("lease lives another %v, want about an hour", ttl)
	}
	if ttl := again.Client.PTTL(ctx, "string").Val(); ttl >= 0 {
		t.Errorf("a key without an end got one: %v", ttl)
	}
	if left, err := filepath.Glob(file + ".*"); err != nil || len(left) != 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestMemoryLetsKeysExpire(t *testing.T) {
	t.Parallel()
	r := inMemory(t, filepath.Join(t.TempDir(), "s"))
	defer r.Close()
	if err := r.Client.Set(t.Context(), "lease", "token", 300*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "the lease runs out", func() bool { return r.Client.Exists(t.Context(), "lease").Val() == 0 })
}

func TestAsynqWorksInMemory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "s")
	r := inMemory(t, file)
	deliver(t, New(r.Client), 1)
	if err := r.Close(); err != nil { // the delivery outlives the process
		t.Fatal(err)
	}
	r = inMemory(t, file)
	defer r.Close()
	c := New(r.Client)
	deliver(t, c, 1)
	payloads := make(chan string)
	srv := asynq.NewServerFromRedisClient(r.Client, asynq.Config{Concurrency: 1, Queues: Weights(), TaskCheckInterval: 5 * time.Millisecond,
		DelayedTaskCheckInterval: 20 * time.Millisecond, LogLevel: asynq.FatalLevel,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return time.Millisecond }})
	if err := srv.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		payloads <- string(task.Payload())
		if n, _ := asynq.GetRetryCount(ctx); n == 0 {
			return context.Canceled
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	for range 2 { // the delivery, and its second try
		select {
		case got := <-payloads:
			if want := `{"job":"` + job + `","number":1}`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("the task did not come")
		}
	}
	until(t, "it is acknowledged", func() bool {
		s, err := c.State(job, 1, Default)
		return err == nil && s == Absent
	})
}

func TestDamagedSnapshotStopsTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "redis.snapshot")
	if err := os.WriteFile(file, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := memory(t.Context(), file, quiet); err == nil {
		r.Close()
		t.Fatal("a start without the data succeeded")
	} else if !strings.Contains(err.Error(), file) {
		t.Errorf("got %q, want the file's name", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "torn" {
		t.Errorf("the damaged file was replaced: %q, %v", text, err)
	}
}

func TestSnapshotThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	r := inMemory(t, filepath.Join(t.TempDir(), "missing", "s"))
	if err := r.Close(); err == nil {
		t.Error("Close succeeded without its snapshot")
	}
	if err := put(t.Context(), redis.NewClient(&redis.Options{}).Pipeline(), entry{Key: "k", Type: "json"}); err == nil {
		t.Error("an unknown type was loaded")
	}
	if err := save(t.Context(), gone(t), filepath.Join(t.TempDir(), "s")); err == nil {
		t.Error("a dump without Redis succeeded")
	}
}

// Not parallel: without PATH there is no redis-server.
func TestBringWithoutRedisServer(t *testing.T) {
	t.Setenv("PATH", "")
	var out bytes.Buffer
	dir := filepath.Join(t.TempDir(), "data")
	r, err := Bring(t.Context(), dir, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Durability != Snapshot || r.Done != nil {
		t.Errorf("got durability %q, done %v, want a Redis in this process", r.Durability, r.Done)
	}
	if !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "30 seconds") {
		t.Errorf("nobody is warned of what a crash costs: %q", out.String())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "redis.snapshot")); err != nil {
		t.Error(err)
	}
}
