package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/cli"
	"berth/internal/doctor"
	"berth/internal/redistest"
	"berth/internal/swarm/swarmtest"
	"berth/openapi"

	"github.com/docker/docker/api/types/swarm"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// TestMain is the program itself where a test has started it as another process.
func TestMain(m *testing.M) {
	if os.Getenv("BERTH_TEST_MAIN") != "" {
		main()
		return
	}
	logging.Disable() // go-redis tells stderr of every Redis that is meant to be away
	os.Exit(m.Run())
}

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

// until polls. Its limit counts looks, not time: a machine that stands still
// makes none.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("did not happen in time: %s", what)
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

// transport has connections of its own: an httptest.Server that closes closes
// the idle ones of http.DefaultTransport, those of other tests with them.
var transport = &http.Transport{DisableKeepAlives: true}

// get returns status and body of an answer; host may be empty.
func get(t *testing.T, address, host, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Authorization", "Bearer "+testKey)
	res, err := transport.RoundTrip(req)
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
	return append([]string{"API_KEY=" + testKey, "SECRET_KEY=" + testSecret, "LISTEN=127.0.0.1:0", "ISOLATION=off", "EGRESS=off", "HOST_NETNS=/nonexistent", "DOMAIN=berth.test", "CONTAINER_DOMAIN=ide.test",
		"HIGH_WATER_CPU=0", "HIGH_WATER_MEMORY=0", "HIGH_WATER_DISK=0", "PATH=" + os.Getenv("PATH"), "DOCKER_HOST=" + swarmtest.NewServer(t).Host()}, more...)
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
	if err := run(t.Context(), []string{"health", "--timeout=1m"}, []string{"LISTEN=" + address}, io.Discard, io.Discard); err != nil {
		t.Errorf("health: %v", err)
	}
	streamShows(t, address, "/api/dashboard/logs", `"source":"api","level":"info","text":"berth listens `, `"source":"worker","level":"info","text":"worker runs `)
	begun := time.Now()
	if err := p.stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("it took %v to end", took)
	}
	if log := p.log.String(); !strings.Contains(log, `"msg":"bye"`) || strings.Contains(log, testKey) || strings.Contains(log, testSecret) {
		t.Errorf("the log is:\n%s", log)
	}
	if err := run(t.Context(), []string{"health", "--timeout=1m"}, []string{"LISTEN=" + address}, io.Discard, io.Discard); err == nil {
		t.Error("health succeeded when nothing listens")
	}
}

// streamShows reads a stream until all words have come.
func streamShows(t *testing.T, address, path string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for in := bufio.NewScanner(res.Body); len(words) > 0; {
		if !in.Scan() {
			t.Fatalf("%s does not show %q: %v", path, words, in.Err())
		}
		words = slices.DeleteFunc(words, func(w string) bool { return strings.Contains(in.Text(), w) })
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

func TestEachLineOfAServersLogIsJSON(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "gateway")
	cmd.Env = []string{"BERTH_TEST_MAIN=1", "REDIS_URL=redis://127.0.0.1:1", "LOG_LEVEL=debug"}
	log, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for lines := bufio.NewScanner(log); !said["redis"] || !said["redis does not answer yet"]; {
		var line struct{ Msg string }
		if !lines.Scan() {
			t.Errorf("it ended after %v", said)
			break
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("%v: %s", err, lines.Text())
			break
		}
		said[line.Msg] = true
	}
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()
}

func TestAServerThatWaitsForItsRedisCanBeStopped(t *testing.T) {
	t.Parallel()
	p := launch(t, "gateway", settings(t, "REDIS_URL=redis://127.0.0.1:1")[2:]...)
	until(t, "it waits", func() bool { return strings.Contains(p.log.String(), "redis does not answer yet") })
	if err := p.stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestARedisThatDropsKeysIsToldOfAtTheStart(t *testing.T) {
	t.Parallel()
	for policy, told := range map[string]bool{"allkeys-lru": true, "noeviction": false} {
		rdb := redistest.New(t)
		if rdb.Options().Network != "unix" {
			t.Skip("no redis-server in PATH")
		}
		if err := rdb.ConfigSet(t.Context(), "maxmemory-policy", policy).Err(); err != nil {
			t.Fatal(err)
		}
		p := launch(t, "api", settings(t, "REDIS_URL=redis-socket://"+rdb.Options().Addr)...)
		p.address()
		if got := strings.Contains(p.log.String(), "set its maxmemory-policy to noeviction"); got != told {
			t.Errorf("%s: told of: %t, want %t", policy, got, told)
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
	case <-time.After(time.Minute):
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
		"an API key too short":    {"api", append(keys, "API_KEYS=course-1:client:"+testKey+",course-2:client:short"), `"course-2" has 5 characters`},
		"API_KEY too short":       {"up", []string{"API_KEY=" + testKey[:31], "SECRET_KEY=" + testSecret}, `"admin" has 31 characters`},
		"up with a bad setting":   {"up", append(keys, "ROUTING=dns"), "ROUTING"},
		"a URL of nothing":        {"api", append(keys, "REDIS_URL=http://x"), "REDIS_URL cannot be read"},
		"a port that is taken":    {"up", settings(t, "DATA_DIR="+shortDir(t), "LISTEN="+taken.Addr().String()), "listen"},
		"a bad instance":          {"up", settings(t, "DATA_DIR="+shortDir(t), "INSTANCE=a b"), "instance"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
	if out, err := call("--help"); err != nil || !strings.Contains(out, "Browser IDEs on Docker Swarm") || !strings.Contains(out, "worker") {
		t.Errorf("help: got %q, %v", out, err)
	}
}

func TestDoctorCommand(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server in PATH")
	}
	engine := swarmtest.NewServer(t)
	engine.SetNode(engine.NodeID(), func(n *swarm.Node) { n.Status.Addr = "127.77.77.77" }) // whose ports are looked at
	environ := settings(t, "DATA_DIR="+shortDir(t), "S3_ENDPOINT=none", "DOCKER_HOST="+engine.Host())
	elsewhere := append(slices.Clone(environ), "DOMAIN=localhost:1", "CONTAINER_DOMAIN=localhost:1") // nobody's name is asked for
	examine := func(more ...string) (list []doctor.Finding, err error) {
		t.Helper()
		var out bytes.Buffer
		err = run(t.Context(), []string{"doctor", "-o", "json"}, slices.Concat(elsewhere, more), &out, io.Discard)
		if jerr := json.Unmarshal(out.Bytes(), &list); jerr != nil {
			t.Fatalf("%v: %s", jerr, out.String())
		}
		return list, err
	}
	status := func(list []doctor.Finding, check string) string {
		i := slices.IndexFunc(list, func(f doctor.Finding) bool { return f.Check == check })
		if i < 0 {
			return "missing"
		}
		return list[i].Status
	}
	if list, err := examine(); !errors.Is(err, cli.ErrUnwell) || status(list, "redis") != doctor.Fail || status(list, "engine") != doctor.OK {
		t.Errorf("without Redis: got %v, %+v", err, list)
	}
	p := launch(t, "up", environ...)
	_, port, _ := net.SplitHostPort(p.address())
	here := []string{"DOMAIN=localhost:" + port, "CONTAINER_DOMAIN=localhost:" + port}
	until(t, "the worker reports", func() bool {
		list, _ := examine(here...)
		return status(list, "workers") == doctor.OK
	})
	list, err := examine(here...)
	if err != nil || status(list, "redis") != doctor.OK || status(list, "entry ports") != doctor.OK || status(list, "images") != doctor.OK || status(list, "isolation") != doctor.Warn {
		t.Errorf("all is there: got %v, %+v", err, list)
	}
	if list, err := examine("ROUTING=dns"); !errors.Is(err, cli.ErrUnwell) || status(list, "configuration") != doctor.Fail {
		t.Errorf("a bad setting: got %v, %+v", err, list)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"doctor"}, elsewhere, &out, io.Discard); err != nil && !errors.Is(err, cli.ErrUnwell) || !strings.Contains(out.String(), "-> ") || !strings.Contains(out.String(), " not looked at\n") {
		t.Errorf("the table: got %v\n%s", err, out.String())
	}
}

// Not parallel: a shell asks by an environment variable.
func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{"berth cre": "create", "berth jobs ": "cancel", "berth create --temp": "--template", "berth completion ": "fish"} {
		t.Setenv("COMP_LINE", line)
		var out bytes.Buffer
		if err := run(t.Context(), nil, nil, &out, io.Discard); err != nil || !slices.Contains(strings.Fields(out.String()), want) {
			t.Errorf("%q: got %q, %v, want %s among them", line, out.String(), err, want)
		}
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
		return run(t.Context(), []string{"health", "--timeout=1m"}, []string{"LISTEN=" + listen}, io.Discard, io.Discard)
	}
	if err := health(l.Addr().String()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a process that is not ready: got %v", err)
	}
	status.Store(http.StatusNoContent)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := health(":" + port); err != nil {
		t.Errorf("a process that is ready: got %v", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	if err := run(t.Context(), []string{"health", "--timeout=50ms"}, []string{"LISTEN=" + silent.Addr().String()}, io.Discard, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a process that does not answer: got %v", err)
	}
	if err := health("8080"); err == nil || !strings.Contains(err.Error(), "LISTEN") {
		t.Errorf("no address: got %v, want the variable", err)
	}
	if err := run(t.Context(), []string{"health"}, []string{"ROUTING=dns"}, io.Discard, io.Discard); err == nil {
		t.Error("a bad setting was not noticed")
	}
}

// Clients that send slowly are cut: a connection is what a server has least of.
func TestSlowClientsAreCut(t *testing.T) {
	t.Parallel()
	address := launch(t, "up", settings(t, "DATA_DIR="+shortDir(t), "READ_TIMEOUT=300ms")...).address()
	const key = "Host: berth.test\r\nAuthorization: Bearer " + testKey + "\r\n"
	for name, text := range map[string]string{
		"header":                 "GET /api/containers HTTP/1.1\r\nHost: berth.test\r\nX-A",
		"no header":              "",
		"body":                   "POST /api/containers/start HTTP/1.1\r\n" + key + "Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"s3Buc",
		"body in chunks":         "POST /api/containers/start HTTP/1.1\r\n" + key + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"s3B\r\n",
		"body that nobody wants": "GET /api/containers HTTP/1.1\r\n" + key + "Content-Length: 30\r\n\r\nabc",
		"body without a key":     "POST /api/containers/start HTTP/1.1\r\nHost: berth.test\r\nContent-Length: 30\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := untilCut(t, address, text)
			if !strings.Contains(name, "wants") {
				if strings.Contains(answer, "200 OK") {
					t.Errorf("got %q", answer)
				}
				return
			}
			for range 20 { // where the machine holds up the header, it is cut without an answer
				if strings.Contains(answer, "200 OK") {
					return
				}
				answer = untilCut(t, address, text)
			}
			t.Errorf("got %q", answer)
		})
	}
}

// untilCut sends the beginning of a request and returns what comes until the
// server hangs up.
func untilCut(t *testing.T, address, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, text) // it may be cut already
	answer, err := io.ReadAll(c)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Fatalf("the connection stays; it got %q", answer)
	}
	return string(answer)
}

// A request that waits is not cut for it, with a body and without.
func TestWaitingIsNotSlow(t *testing.T) {
	t.Parallel()
	p := launch(t, "up", settings(t, "DATA_DIR="+shortDir(t), "READ_TIMEOUT=100ms", "WORKER_CONCURRENCY=1")...)
	address := p.address()
	// answered asks until there is an answer. A request that the machine holds up
	// before it is read is cut; one that waits for its answer would be each time.
	answered := func(method, path, body string, want int, out any) {
		t.Helper()
		for range 100 {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+testKey)
			req.Header.Set("Content-Type", "application/json")
			res, err := transport.RoundTrip(req)
			if err != nil {
				continue
			}
			err = json.NewDecoder(res.Body).Decode(out)
			res.Body.Close()
			if err == nil && res.StatusCode == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s %s is never answered with %d", method, path, want)
	}
	var job struct{ Job struct{ ID string } }
	answered(http.MethodPost, "/api/containers/start", `{"s3Bucket":"workspace","awsAccessKeyId":"a","awsSecretAccessKey":"b"}`, http.StatusAccepted, &job)
	answered(http.MethodGet, "/api/jobs/"+job.Job.ID+"?wait=1", "", http.StatusOK, &struct{}{})
}

// ask calls the API with a key and reads its answer into out.
func ask(t *testing.T, key, method, url, body string, out any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil && res.StatusCode < 300 {
		t.Fatal(err)
	}
	return res.StatusCode
}

// A Redis is lost for good: what the backup has and what Swarm has make one whole.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server in PATH")
	}
	engine := swarmtest.NewServer(t)
	told := make(chan *http.Request, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // an error is a signature that does not fit
		r.Body = io.NopCloser(bytes.NewReader(body))
		told <- r
	}))
	t.Cleanup(receiver.Close)
	up := func(dir string) (*program, string, []string) {
		environ := settings(t, "DATA_DIR="+dir, "DOCKER_HOST="+engine.Host(), "S3_ENDPOINT=none", "WEBHOOK_ALLOW=127.0.0.0/8", "WORKER_GRACE=1s")
		p := launch(t, "up", environ...)
		return p, "http://" + p.address() + "/api/", environ
	}
	command := func(environ []string, args ...string) error {
		return run(t.Context(), args, environ, io.Discard, io.Discard)
	}

	p, api, environ := up(shortDir(t))
	var key struct{ Key string }
	if got := ask(t, testKey, "POST", api+"keys", `{"name":"course","role":"client"}`, &key); got != http.StatusCreated {
		t.Fatalf("make a key: %d", got)
	}
	var hook struct{ ID, Secret string }
	if got := ask(t, key.Key, "POST", api+"webhooks", `{"url":"`+receiver.URL+`","events":["container.stopping"]}`, &hook); got != http.StatusCreated {
		t.Fatalf("make a webhook: %d", got)
	}
	var made functions.StartAnswer
	until(t, "a start is admitted", func() bool {
		return ask(t, key.Key, "POST", api+"containers/start", `{"s3Bucket":"workspaces"}`, &made) == http.StatusAccepted
	})
	var before, after openapi.EventList
	until(t, "its record is in Swarm", func() bool { return engine.Requests("POST", "/services/create") > 0 })
	if got := ask(t, key.Key, "GET", api+"containers/"+made.ID+"/events", "", &before); got != http.StatusOK || len(before.Events) == 0 {
		t.Fatalf("history: %d, %v", got, before)
	}
	file := filepath.Join(t.TempDir(), "backup")
	if err := command(environ, "backup", file); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if err := command(environ, "backup", file); err == nil || !strings.Contains(err.Error(), "no `berth up`") {
		t.Errorf("a backup of what does not run: got %v", err)
	}

	_, api, environ = up(shortDir(t)) // the disk was lost
	until(t, "the container is back from Swarm", func() bool {
		return ask(t, testKey, "GET", api+"containers/"+made.ID, "", &struct{}{}) == http.StatusOK
	})
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.WriteFile(cut, whole[:len(whole)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := command(environ, "restore", cut, "--replace"); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("a file that is cut off: got %v", err)
	}
	if err := command(environ, "restore", file); err == nil || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("a Redis that is not empty: got %v", err)
	}
	if got := ask(t, key.Key, "GET", api+"containers", "", &struct{}{}); got != http.StatusUnauthorized {
		t.Errorf("the key, before it is restored: got %d", got)
	}
	if err := command(environ, "restore", file, "--replace"); err != nil {
		t.Fatal(err)
	}
	until(t, "the container is back again, its owner's key works", func() bool {
		return ask(t, key.Key, "GET", api+"containers/"+made.ID+"/events", "", &after) == http.StatusOK
	})
	if got := after.Events[:min(len(before.Events), len(after.Events))]; !slices.EqualFunc(got, before.Events, func(a, b openapi.EventAnswer) bool { return a.ID == b.ID }) {
		t.Errorf("its history is %v, want it to begin with %v", after.Events, before.Events)
	}
	until(t, "a stop is admitted", func() bool {
		return ask(t, key.Key, "DELETE", api+"containers/"+made.ID, "", &struct{}{}) == http.StatusAccepted
	})
	select {
	case r := <-told:
		body, _ := io.ReadAll(r.Body)
		verifier, err := standardwebhooks.NewWebhook(hook.Secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(body, r.Header); err != nil || !strings.Contains(string(body), made.ID) {
			t.Errorf("the restored webhook told %s: %v", body, err)
		}
	case <-time.After(time.Minute):
		t.Error("the restored webhook told nothing")
	}
}

// Not parallel: a shell asks by an environment variable.
func TestCompletionOfIDs(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer key":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/api/containers":
			io.WriteString(w, `{"containers":[{"id":"k3xq"},{"id":"m7aa"}]}`)
		case r.URL.Path == "/api/jobs":
			io.WriteString(w, `{"jobs":[{"id":"container-stop:k3xq:1"}]}`)
		}
	}))
	defer srv.Close()
	for line, want := range map[string]string{"berth stop ": "m7aa", "berth stop k": "k3xq", "berth wait ": "container-stop:k3xq:1"} {
		t.Setenv("COMP_LINE", line)
		var out bytes.Buffer
		if err := run(t.Context(), nil, []string{"BERTH_URL=" + srv.URL, "BERTH_API_KEY=key"}, &out, io.Discard); err != nil || !slices.Contains(strings.Fields(out.String()), want) {
			t.Errorf("%q: got %q, %v, want %s among them", line, out.String(), err, want)
		}
	}
}

// What people try first.
func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, want string }{
		{"", "Usage: berth"}, {"help", "Usage: berth"}, {"help stop", "Usage: berth stop"}, {"stop --help", "Usage: berth stop"},
		{"--version", versionText() + "\n"}, {"version", versionText() + "\n"}, {"version -o json", `{"version":"` + versionText() + `"}`},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields(tc.args), nil, &out, io.Discard); err != nil || !strings.Contains(out.String(), tc.want) {
			t.Errorf("berth %s: got %q, %v, want %q", tc.args, out.String(), err, tc.want)
		}
	}
}
