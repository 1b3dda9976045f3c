package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"
	"berth/internal/store"
	"berth/openapi"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/redis/go-redis/v9"
)

const (
	adminKey  = "admin-key-admin-key-admin-key-admin"
	secretKey = "secret-key-secret-key-secret-key-secret"
	image     = "berth/ide:slim"
)

// ports gives every cluster of this test process ports of its own.
var ports atomic.Int32

// cluster is a control plane of a test's own, in the network of the first
// node's edge: a Redis, an API, a gateway, and the workers a test starts.
type cluster struct {
	t         testing.TB
	lab       *lab.Lab
	instance  string
	dir       string
	redisPort int
	apiPort   int
	edgePort  int
	redis     *process
	net       int          // a process in the edge's network
	http      *http.Client // to the API
	edge      *http.Client // to the gateway; the request's Host decides
	engine    *client.Client
	rdb       *redis.Client
	store     *store.Store
	workers   []*process
	env       []string
}

// process is one process of a cluster.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newCluster starts Redis, API and gateway. When the test ends everything of
// the cluster is stopped and purged through the API, and the engine is asked
// whether anything was left behind.
func newCluster(t testing.TB, settings ...string) *cluster {
	t.Helper()
	l := lab.Open(t)
	bin := os.Getenv("BERTH_BIN")
	if bin == "" {
		t.Fatal("BERTH_BIN, the path of the berth binary, is not set: run make test")
	}
	n := int(ports.Add(1))*4 + 20000
	c := &cluster{t: t, lab: l, instance: "t" + ide.NewID(), dir: t.TempDir(), redisPort: n, apiPort: n + 1, edgePort: n + 2}
	var err error
	if c.engine, err = client.NewClientWithOpts(client.WithHost(l.Nodes[0].Sock), client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.engine.Close() })
	c.env = append([]string{
		"API_KEY=" + adminKey, "API_KEYS=alice:client:alice-key-alice-key-alice-key-alice,bob:client:bob-key-bob-key-bob-key-bob-key-bob-key",
		"SECRET_KEY=" + secretKey, fmt.Sprintf("REDIS_URL=redis://127.0.0.1:%d", c.redisPort), "INSTANCE=" + c.instance, "IMAGE=" + image,
		fmt.Sprintf("DOMAIN=localhost:%d", c.apiPort), fmt.Sprintf("CONTAINER_DOMAIN=ide.localhost:%d", c.edgePort), "URL_SCHEME=http",
		fmt.Sprintf("EDGE_URL=http://127.0.0.1:%d", c.edgePort), "CPU_RESERVATION=0.05", "MEMORY_RESERVATION=64m", "CPU_LIMIT=0.5", "MEMORY_LIMIT=256m",
		"IMAGE_ALLOW=berth/*", "RATE_LIMIT=0", "LOG_LEVEL=debug", "STOP_GRACE=10s",
	}, settings...)
	c.net = c.run("network", "n1", nil, "sleep", "infinity").cmd.Process.Pid
	c.startRedis()
	c.http = clientIn(c.net, fmt.Sprintf("127.0.0.1:%d", c.apiPort))
	c.edge = clientIn(c.net, fmt.Sprintf("127.0.0.1:%d", c.edgePort))
	c.rdb = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", c.redisPort), Dialer: dialIn(c.net)})
	t.Cleanup(func() { c.rdb.Close() })
	c.store = store.New(c.rdb, store.Config{})
	t.Cleanup(c.cleanUp)
	c.api()
	c.start("gateway", fmt.Sprintf("LISTEN=:%d", c.edgePort))
	return c
}

// api starts an API process and waits until it answers.
func (c *cluster) api(env ...string) *process {
	c.t.Helper()
	p := c.start("api", append([]string{fmt.Sprintf("LISTEN=:%d", c.apiPort)}, env...)...)
	c.eventually("the API answers", 20*time.Second, func() error {
		res, err := c.http.Get("http://localhost/livez")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	return p
}

func (c *cluster) startRedis() {
	c.redis = c.run("redis", "n1", nil, "redis-server", "--port", fmt.Sprint(c.redisPort), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "",
		"--appendonly", "yes", "--dir", c.dir, "--maxmemory-policy", "noeviction")
}

// start starts a role of Berth on the first node.
func (c *cluster) start(role string, env ...string) *process {
	c.t.Helper()
	return c.run(role, "n1", env, os.Getenv("BERTH_BIN"), role)
}

// worker starts a worker on a node and waits until containers can be placed
// there.
func (c *cluster) worker(node string, env ...string) *process {
	c.t.Helper()
	n := c.lab.Node(node)
	all := append([]string{"DOCKER_HOST=" + n.Sock, "ENGINE_EXEC_ROOT=" + n.ExecRoot}, env...)
	if node != "n1" {
		edge := c.edgeAddress()
		all = append(all, fmt.Sprintf("REDIS_URL=redis://%s:%d", edge, c.redisPort), fmt.Sprintf("EDGE_URL=http://%s:%d", edge, c.edgePort))
	}
	p := c.run("worker", node, all, os.Getenv("BERTH_BIN"), "worker")
	c.workers = append(c.workers, p)
	c.eventually("admission knows the node "+node, 30*time.Second, func() error {
		nodes, err := c.store.Nodes(context.Background())
		for _, n := range nodes {
			if n.Hostname == node && n.Placeable() && time.Since(n.At) < 10*time.Second {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("it is not placeable in %+v\n%s", nodes, tail(p.log.String())))
	})
	return p
}

// run starts a process in the network of a node's edge.
func (c *cluster) run(name, node string, env []string, program string, args ...string) *process {
	c.t.Helper()
	cmd := c.lab.EdgeCommand(context.Background(), node, program, args...)
	cmd.Env = append(append(cmd.Env, c.env...), env...)
	p := &process{name: name, cmd: cmd, log: &lockedBuffer{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { cmd.Wait(); close(p.done) }()
	c.t.Cleanup(func() {
		c.end(p, syscall.SIGTERM)
		if c.t.Failed() {
			if name != "redis" && name != "network" {
				c.t.Logf("%s on %s:\n%s", name, node, tail(p.log.String()))
			}
		}
	})
	return p
}

// end signals a process and waits for its end.
func (c *cluster) end(p *process, sig syscall.Signal) {
	syscall.Kill(p.cmd.Process.Pid, syscall.SIGCONT)
	syscall.Kill(p.cmd.Process.Pid, sig)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		c.t.Errorf("%s did not end within 30 s of %s", p.name, sig)
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// tail is the end of a log.
func tail(s string) string {
	return s[max(0, len(s)-6000):]
}

// eventually polls until do succeeds.
func (c *cluster) eventually(what string, within time.Duration, do func() error) {
	c.t.Helper()
	var err error
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = do(); err == nil {
			return
		}
	}
	c.t.Fatalf("%s: not within %s: %v", what, within, err)
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// code is the error's code.
func (a answer) code() ide.Code {
	var e openapi.Envelope
	_ = json.Unmarshal(a.body, &e)
	if e.Err == nil {
		return ""
	}
	return e.Err.Code
}

// call asks the API as admin; headers are given as pairs.
func (c *cluster) call(method, path, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

// ask calls and expects a status.
func ask[T any](c *cluster, want int, method, path, body string, headers ...string) T {
	c.t.Helper()
	var out T
	a, err := c.call(method, path, body, headers...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != want {
		c.t.Fatalf("%s %s: got %s, want %d", method, path, a, want)
	}
	if len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &out); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, a)
		}
	}
	return out
}

// create asks for a container with a bucket of its own.
func (c *cluster) create() functions.StartAnswer {
	c.t.Helper()
	return ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start", fmt.Sprintf(`{"s3Bucket":"ws-%s"}`, ide.NewID()))
}

// stop asks for a stop.
func (c *cluster) stop(id string) ide.Job {
	c.t.Helper()
	return ask[ide.Job](c, http.StatusAccepted, "DELETE", "/api/containers/"+id, "")
}

// wait returns a job when it has ended.
func (c *cluster) wait(job string, within time.Duration) ide.Job {
	c.t.Helper()
	for end := time.Now().Add(within); ; {
		j := ask[ide.Job](c, http.StatusOK, "GET", "/api/jobs/"+job+"?wait=10", "")
		if j.Status.Ended() {
			return j
		}
		if time.Now().After(end) {
			text, _ := json.Marshal(j)
			c.t.Fatalf("job has not ended within %s: %s", within, text)
		}
	}
}

// succeed waits for a job and expects that it succeeded.
func (c *cluster) succeed(job string) ide.Job {
	c.t.Helper()
	j := c.wait(job, 90*time.Second)
	if j.Status != ide.JobSucceeded {
		text, _ := json.Marshal(j)
		c.t.Fatalf("job %s: got %s", j.Status, text)
	}
	return j
}

func (c *cluster) get(id string) openapi.ContainerAnswer {
	c.t.Helper()
	return ask[openapi.ContainerAnswer](c, http.StatusOK, "GET", "/api/containers/"+id, "")
}

// open fetches a container's URL through the gateway.
func (c *cluster) open(url string) answer {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html") // as a browser does
	res, err := c.edge.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, b}
}

// made is what the engine holds of this cluster's.
type made struct{ services, secrets, configs []string }

func (c *cluster) made() made {
	c.t.Helper()
	ctx, f := context.Background(), filters.NewArgs(filters.Arg("label", "berth.instance="+c.instance))
	var m made
	services, err := c.engine.ServiceList(ctx, swarm.ServiceListOptions{Filters: f})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range services {
		m.services = append(m.services, s.Spec.Name)
	}
	secrets, err := c.engine.SecretList(ctx, swarm.SecretListOptions{Filters: f})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range secrets {
		m.secrets = append(m.secrets, s.Spec.Name)
	}
	configs, err := c.engine.ConfigList(ctx, swarm.ConfigListOptions{Filters: f})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range configs {
		m.configs = append(m.configs, s.Spec.Name)
	}
	return m
}

// pid is the process of a container, on whichever node it runs: the test sees
// them all.
func (c *cluster) pid(id string) int {
	c.t.Helper()
	for _, n := range c.lab.Nodes {
		cli, err := client.NewClientWithOpts(client.WithHost(n.Sock), client.WithAPIVersionNegotiation())
		if err != nil {
			c.t.Fatal(err)
		}
		defer cli.Close()
		list, err := cli.ContainerList(context.Background(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "berth.id="+id))})
		if err != nil || len(list) == 0 {
			continue
		}
		one, err := cli.ContainerInspect(context.Background(), list[0].ID)
		if err != nil {
			c.t.Fatal(err)
		}
		return one.State.Pid
	}
	c.t.Fatalf("no node has a container of %s", id)
	return 0
}

// edgeAddress is the overlay address of the first node's edge.
func (c *cluster) edgeAddress() string {
	c.t.Helper()
	out, err := c.lab.EdgeCommand(context.Background(), "n1", "ip", "-4", "-o", "addr").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	net, err := c.engine.NetworkInspect(context.Background(), "ide-network", networkOptions)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		addr, _, _ := strings.Cut(fields[3], "/")
		if within(net.IPAM.Config[0].Subnet, addr) {
			return addr
		}
	}
	c.t.Fatalf("the edge has no address on the overlay:\n%s", out)
	return ""
}

// cleanUp stops and purges every container with a fresh worker, whatever the
// test did to the others, and looks for what was left behind.
func (c *cluster) cleanUp() {
	select {
	case <-c.redis.done:
		c.startRedis()
	default:
		syscall.Kill(c.redis.cmd.Process.Pid, syscall.SIGCONT)
	}
	c.api()
	c.worker("n1")
	for _, status := range []string{"starting", "running", "stopping", "failed", "stopped"} {
		for {
			list := ask[openapi.ContainerList](c, http.StatusOK, "GET", "/api/containers?limit=200&status="+status, "")
			if len(list.Containers) == 0 {
				break
			}
			var jobs []string
			for _, one := range list.Containers {
				a, err := c.call("DELETE", "/api/containers/"+one.ID+"?purge=true", "")
				var j ide.Job
				if err == nil && json.Unmarshal(a.body, &j) == nil && a.status == http.StatusAccepted {
					jobs = append(jobs, j.ID)
				}
			}
			for _, j := range jobs {
				c.wait(j, time.Minute)
			}
		}
	}
	if m := c.made(); len(m.services)+len(m.secrets)+len(m.configs) > 0 {
		c.t.Errorf("left behind: %+v", m)
	}
}
