package queue

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/redistest"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
)

var quiet = slog.New(slog.DiscardHandler)

// shortDir is a directory whose path leaves room for a socket's name: those
// have 108 bytes.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// script is a program in place of a redis-server.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "redis-server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConnect(t *testing.T) {
	t.Parallel()
	socket := redistest.New(t).Options()
	if socket.Network != "unix" {
		t.Skip("no redis-server in PATH")
	}
	r, err := Connect(t.Context(), "redis-socket://"+socket.Addr, 0, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if r.Durability != External || r.Done != nil {
		t.Errorf("got durability %q, done %v, want external and nothing to wait for", r.Durability, r.Done)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Client.Ping(t.Context()).Err(); err == nil {
		t.Error("the client answers after Close")
	}
}

func TestConnectRefuses(t *testing.T) {
	t.Parallel()
	cluster, err := server.NewServer("127.0.0.1:0") // answers as a node of a Redis Cluster does
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for cmd, answer := range map[string]string{"PING": "PONG", "INFO": "# Cluster\r\ncluster_enabled:1\r\n"} {
		if err := cluster.Register(cmd, func(c *server.Peer, _ string, _ []string) { c.WriteBulk(answer) }); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct{ url, want string }{
		"no URL":            {"%zz", "REDIS_URL cannot be read"},
		"another scheme":    {"http://:hunter2@127.0.0.1", "REDIS_URL cannot be read"},
		"bad database":      {"redis://:hunter2@127.0.0.1:1/x", "REDIS_URL cannot be read"},
		"nobody listens":    {"redis-socket://" + t.TempDir() + "/none", "reach redis"},
		"sentinel, nobody":  {"redis-sentinel://127.0.0.1:1?master=m", "reach redis"},
		"a cluster's node":  {fmt.Sprintf("redis://%s", cluster.Addr()), "Berth needs a single node or Sentinel"},
		"password not told": {"redis://:hunter2@127.0.0.1:1", "reach redis"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := Connect(ctx, tc.url, 0, quiet)
			if err == nil {
				r.Close()
				t.Fatalf("Connect succeeded, want %q", tc.want)
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %q, want %q without the password", err, tc.want)
			}
		})
	}
}

// onWarning does something at the first warning.
type onWarning struct {
	slog.Handler
	do func()
}

func (h onWarning) Enabled(_ context.Context, l slog.Level) bool { return l == slog.LevelWarn }

func (h onWarning) Handle(context.Context, slog.Record) error { h.do(); return nil }

func TestConnectWaitsForARedisThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server in PATH")
	}
	dir, warnings := shortDir(t), 0
	socket := filepath.Join(dir, "redis.sock")
	late := slog.New(onWarning{slog.DiscardHandler, func() {
		if warnings++; warnings > 1 {
			return
		}
		cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--requirepass", "hunter2")
		if err := cmd.Start(); err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}})
	r, err := Connect(t.Context(), "redis-socket://:hunter2@"+socket, patience, late)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if warnings != 1 {
		t.Errorf("it warned %d times, want once", warnings)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := Connect(ctx, "redis-socket://:wrong@"+socket, time.Hour, quiet); err == nil || !strings.Contains(err.Error(), "WRONGPASS") || ctx.Err() != nil {
		t.Errorf("got %v, context %v, want at once that the password is wrong", err, ctx.Err())
	}
}

// brought is a redis-server of this test's own.
func brought(t *testing.T, dir string) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server in PATH")
	}
	r, err := Bring(t.Context(), dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBroughtRedisKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortDir(t), "new")
	r := brought(t, dir)
	if r.Durability != AOF {
		t.Errorf("got durability %q, want %q", r.Durability, AOF)
	}
	for name, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, filepath.Join(dir, "redis.sock"): fs.ModeSocket | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v: nobody else reaches it", filepath.Base(name), info.Mode(), err, want)
		}
	}
	if got := r.Client.ConfigGet(t.Context(), "port").Val()["port"]; got != "0" {
		t.Errorf("it listens on TCP port %q", got)
	}
	if err := r.Client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Done:
	default:
		t.Error("Close returned before the child had ended")
	}
	again := brought(t, dir)
	defer again.Close()
	if got, err := again.Client.Get(t.Context(), "k").Result(); got != "v" {
		t.Errorf("got %q, %v after a restart, want v", got, err)
	}
}

func TestDoneTellsThatTheChildDied(t *testing.T) {
	t.Parallel()
	r := brought(t, shortDir(t))
	info, err := r.Client.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "process_id:")
	pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Done:
		t.Fatal("done while it lives")
	default:
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Done:
	case <-time.After(time.Minute):
		t.Fatal("nobody was told that redis-server is dead")
	}
	if err := r.Close(); err != nil {
		t.Errorf("close after its death: %v", err)
	}
}

func TestChildThatDoesNotServe(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		program string
		timeout time.Duration
		want    string
	}{
		"no program":   {"/nonexistent/redis-server", time.Minute, "start /nonexistent/redis-server"},
		"ends at once": {script(t, "exit 1"), time.Minute, "ended at once"},
		"is deaf":      {script(t, "exec sleep 60"), 200 * time.Millisecond, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
			defer cancel()
			r, err := child(ctx, tc.program, t.TempDir())
			if err == nil {
				r.Close()
				t.Fatal("child succeeded")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, want %q", err, tc.want)
			}
		})
	}
}

func TestBringNeedsItsDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Bring(t.Context(), filepath.Join(file, "data"), quiet); err == nil || !strings.Contains(err.Error(), "make data directory") {
		t.Errorf("got %v, want that the directory cannot be made", err)
	}
}

// A second process in the same directory would take the socket away from the
// first and write into its file.
func TestOneDirectoryHasOneRedis(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	r := brought(t, dir)
	defer r.Close()
	if second, err := Bring(t.Context(), dir, quiet); err == nil {
		second.Close()
		t.Error("a second Redis was brought in the same directory")
	} else if !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %q, want that the directory is in use", err)
	}
	fresh := redis.NewClient(&redis.Options{Network: "unix", Addr: filepath.Join(dir, "redis.sock"), MaxRetries: -1})
	defer fresh.Close()
	if err := fresh.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the first is out of reach for new connections: %v", err)
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	if _, err := Attach(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "no `berth up`") {
		t.Errorf("an empty directory: got %v", err)
	}
	r := brought(t, dir)
	t.Cleanup(func() { r.Close() })
	if err := r.Client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	a, err := Attach(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Client.Get(t.Context(), "k").Val(); got != "v" {
		t.Errorf("got %q, want what the other process has written", got)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the Redis ended with who had attached: %v", err)
	}
}

func TestAttachToASnapshotSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	if err := os.WriteFile(filepath.Join(dir, snapshotFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "inside that process") || !strings.Contains(err.Error(), filepath.Join(dir, snapshotFile)) {
		t.Errorf("got %v, want the reason and the file to copy", err)
	}
}
