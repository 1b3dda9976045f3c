package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/internal/redistest"
	"berth/internal/swarm/swarmtest"
	"berth/openapi"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func init() { logging.Disable() } // go-redis tells stderr of every Redis that is meant to be away

// output is what a command writes, read while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// program is a command that serves.
type program struct {
	t    *testing.T
	log  output
	stop func() error
	done chan struct{}
}

// launch runs a command with its environment until stop.
func launch(t *testing.T, command string, environ ...string) *program {
	t.Helper()
	p := &program{t: t, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	go func() {
		defer close(p.done)
		err = run(ctx, []string{command}, environ, io.Discard, &p.log)
	}()
	p.stop = func() error { cancel(); <-p.done; return err }
	t.Cleanup(func() { _ = p.stop() })
	return p
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("did not happen in time: %s", what)
		}
	}
}

// address waits for the port on which it listens.
func (p *program) address() (address string) {
	p.t.Helper()
	until(p.t, "it listens", func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("it ended with %v; log:\n%s", p.stop(), p.log.String())
		default:
		}
		for line := range strings.Lines(p.log.String()) {
			var l struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "berth listens" {
				address = l.Address
			}
		}
		return address != ""
	})
	return address
}

// get returns status and body of an answer; host may be empty.
func get(t *testing.T, address, host, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Authorization", "Bearer "+testKey)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// settings of a program that serves a test.
func settings(t *testing.T, more ...string) []string {
	return append([]string{"API_KEY=" + testKey, "SECRET_KEY=" + testSecret, "LISTEN=127.0.0.1:0", "ISOLATION=off", "DOMAIN=berth.test", "CONTAINER_DOMAIN=ide.test",
		"PATH=" + os.Getenv("PATH"), "DOCKER_HOST=" + swarmtest.NewServer(t).Host()}, more...)
}

func TestUp(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	p := launch(t, "up", settings(t, "DATA_DIR="+dir)...)
	address := p.address()
	until(t, "health is ok", func() bool {
		status, body := get(t, address, "", "/api/health")
		return status == http.StatusOK && strings.Contains(body, `"status":"ok"`)
	})
	if status, body := get(t, address, "", "/api/containers"); status != http.StatusOK || !strings.Contains(body, `"total":0`) {
		t.Errorf("list: got %d %s", status, body)
	}
	if status, body := get(t, address, "k3xqh5zt2mwfa-code.ide.test", "/"); status != http.StatusNotFound || strings.Contains(body, `"error"`) {
		t.Errorf("a container's host: got %d %s, want the gateway's page", status, body)
	}
	if err := run(t.Context(), []string{"health"}, []string{"LISTEN=" + address}, io.Discard, io.Discard); err != nil {
		t.Errorf("health: %v", err)
	}
	begun := time.Now()
	if err := p.stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if log := p.log.String(); !strings.Contains(log, `"msg":"bye"`) || strings.Contains(log, testKey) || strings.Contains(log, testSecret) {
		t.Errorf("the log is:\n%s", log)
	}
	if err := run(t.Context(), []string{"health"}, []string{"LISTEN=" + address}, io.Discard, io.Discard); err == nil {
		t.Error("health succeeded when nothing listens")
	}
}

func TestRolesInProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	o := redistest.New(t).Options()
	if o.Network != "unix" {
		t.Skip("no redis-server in PATH")
	}
	environ := settings(t, "REDIS_URL=redis-socket://"+o.Addr, "LOG_LEVEL=debug")
	api, gateway, worker := launch(t, "api", environ...), launch(t, "gateway", environ[2:]...), launch(t, "worker", environ...) // the gateway needs no keys
	apiAt, gatewayAt := api.address(), gateway.address()
	until(t, "the API hears of the worker", func() bool {
		status, _ := get(t, apiAt, "", "/api/health")
		return status == http.StatusOK
	})
	until(t, "the gateway is ready", func() bool {
		status, _ := get(t, gatewayAt, "", "/readyz")
		return status == http.StatusNoContent
	})
	for path, want := range map[string]int{"/livez": http.StatusNoContent, "/api/health": http.StatusNotFound} {
		if status, body := get(t, gatewayAt, "", path); status != want {
			t.Errorf("gateway %s: got %d %s, want %d", path, status, body, want)
		}
	}
	if status, _ := get(t, gatewayAt, "k3xqh5zt2mwfa-web.ide.test", "/"); status != http.StatusNotFound {
		t.Errorf("an unknown container: got %d", status)
	}
	for name, p := range map[string]*program{"api": api, "gateway": gateway, "worker": worker} {
		if err := p.stop(); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
	}
}

func TestUpEndsWithItsRedis(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server in PATH")
	}
	dir := shortDir(t)
	p := launch(t, "up", settings(t, "DATA_DIR="+dir)...)
	p.address()
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: filepath.Join(dir, "redis.sock")})
	defer c.Close()
	_, rest, _ := strings.Cut(c.Info(t.Context(), "server").Val(), "process_id:")
	pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on without its Redis")
	}
	if err := p.stop(); err == nil || !strings.Contains(err.Error(), "the Redis of this process ended") {
		t.Errorf("got %v, want the reason", err)
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	keys := []string{"API_KEY=" + testKey, "SECRET_KEY=" + testSecret}
	for name, tc := range map[string]struct {
		command string
		environ []string
		want    string
	}{
		"api without a Redis":     {"api", keys, "only `berth up`"},
		"worker without a Redis":  {"worker", keys, "only `berth up`"},
		"gateway without a Redis": {"gateway", nil, "only `berth up`"},
		"api without keys":        {"api", nil, "no API key"},
		"worker without keys":     {"worker", nil, "no SECRET_KEY"},
		"up with a bad setting":   {"up", append(keys, "ROUTING=dns"), "ROUTING"},
		"a URL of nothing":        {"api", append(keys, "REDIS_URL=http://x"), "REDIS_URL cannot be read"},
		"a port that is taken":    {"up", settings(t, "DATA_DIR="+shortDir(t), "LISTEN="+taken.Addr().String()), "listen"},
		"a bad instance":          {"up", settings(t, "DATA_DIR="+shortDir(t), "INSTANCE=a b"), "instance"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := run(ctx, []string{tc.command}, tc.environ, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tc.want) || ctx.Err() != nil {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSmallCommands(t *testing.T) {
	t.Parallel()
	call := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(t.Context(), args, nil, &out, io.Discard)
		return out.String(), err
	}
	if out, err := call("version"); err != nil || strings.TrimSpace(out) != versionText() || out == "\n" {
		t.Errorf("version: got %q, %v", out, err)
	}
	out, err := call("openapi")
	want, yerr := openapi.Document("v1").YAML()
	if err != nil || yerr != nil || out != string(want) || !strings.Contains(out, "openapi: 3.1") || !strings.Contains(out, "/api/containers/start") {
		t.Errorf("openapi: %v, %v, %d bytes", err, yerr, len(out))
	}
	if _, err := call("sail"); err == nil || !strings.Contains(err.Error(), "sail") {
		t.Errorf("unknown command: got %v, want its name", err)
	}
	if _, err := call(); err == nil {
		t.Error("no command: it succeeded")
	}
	if out, err := call("--help"); err != nil || !strings.Contains(out, "Browser IDEs on Docker Swarm") || !strings.Contains(out, "worker") {
		t.Errorf("help: got %q, %v", out, err)
	}
}

func TestHealthCommand(t *testing.T) {
	t.Parallel()
	var status atomic.Int32
	status.Store(http.StatusServiceUnavailable)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("it asks for %s", r.URL.Path)
		}
		w.WriteHeader(int(status.Load()))
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	health := func(listen string) error {
		return run(t.Context(), []string{"health"}, []string{"LISTEN=" + listen}, io.Discard, io.Discard)
	}
	if err := health(l.Addr().String()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a process that is not ready: got %v", err)
	}
	status.Store(http.StatusNoContent)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := health(":" + port); err != nil {
		t.Errorf("a process that is ready: got %v", err)
	}
	if err := health("8080"); err == nil || !strings.Contains(err.Error(), "LISTEN") {
		t.Errorf("no address: got %v, want the variable", err)
	}
	if err := run(t.Context(), []string{"health"}, []string{"ROUTING=dns"}, io.Discard, io.Discard); err == nil {
		t.Error("a bad setting was not noticed")
	}
}

func TestRequestsMayFinish(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, finish := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- serveHTTP(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(began)
			<-finish
			fmt.Fprint(w, "whole")
		}))
	}()
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		answer <- string(b)
	}()
	<-began
	cancel()
	until(t, "it takes no more connections", func() bool {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(finish)
	if got := <-answer; got != "whole" {
		t.Errorf("a request under way got %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if err := serveHTTP(t.Context(), closed, http.NotFoundHandler()); err == nil {
		t.Error("a listener that is closed: serveHTTP succeeded")
	}
}

func TestAgentClientFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://agent.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := agentClient().CheckRedirect(req, nil); !errors.Is(err, http.ErrUseLastResponse) {
		t.Errorf("got %v, want that it stops", err)
	}
}
