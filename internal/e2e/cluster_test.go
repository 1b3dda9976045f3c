package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/lab"
	"berth/internal/store"

	"github.com/docker/docker/client"
	"github.com/redis/go-redis/v9"
)

const (
	adminKey  = "admin-key-admin-key-admin-key-admin"
	secretKey = "secret-key-secret-key-secret-key-secret"
	image     = "berth/ide:slim"
)

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
	processes map[string]*process // of the control plane, but the workers
	all       []*process          // that were started ever
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
	n := takePorts(t, l, 4)
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
		fmt.Sprintf("EDGE_URL=http://127.0.0.1:%d", c.edgePort), "CPU_RESERVATION=0.02", "MEMORY_RESERVATION=64m", "CPU_LIMIT=0.5", "MEMORY_LIMIT=256m",
		"IMAGE_ALLOW=berth/*", "S3_ENDPOINT=none", "RATE_LIMIT=0", "LOG_LEVEL=debug", "STOP_GRACE=10s",
		"HIGH_WATER_CPU=0", "HIGH_WATER_MEMORY=0", "HIGH_WATER_DISK=0", // of the machine that tests share
	}, settings...)
	if crowded(t) {
		c.env = append(c.env, "EGRESS=off")
	} else {
		t.Cleanup(func() { // rules that nobody keeps would hold for an hour, and refuse other tests' containers
			for _, n := range l.Nodes {
				if err := egress(n, c).Remove(); err != nil {
					t.Errorf("egress rules of %s stay: %v", n.Name, err)
				}
			}
		})
	}
	t.Cleanup(func() { c.endAll(base...); c.rdb.Close(); c.show() })
	t.Cleanup(c.cleanUp)
	c.boot()
	return c
}

// base are the processes that the others need.
var base = []string{"network on n1", "redis on n1"}

// endAll ends every process, those that are named last.
func (c *cluster) endAll(last ...string) {
	var first, then []*process
	for _, p := range c.all {
		if slices.Contains(last, p.name) {
			then = append(then, p)
		} else {
			first = append(first, p)
		}
	}
	c.endEach(first)
	c.endEach(then)
}

// endEach ends processes all at once.
func (c *cluster) endEach(list []*process) {
	var all sync.WaitGroup
	for _, p := range list {
		all.Go(func() { c.end(p, syscall.SIGTERM) })
	}
	all.Wait()
}

// show shows what Berth's processes and the lab's engines said last, if the test has
// failed.
func (c *cluster) show() {
	if !c.t.Failed() {
		return
	}
	for _, p := range c.all {
		if !slices.Contains(base, p.name) {
			c.t.Logf("%s:\n%s", p.name, tail(p.log.String()))
		}
	}
	for _, n := range c.lab.Nodes {
		text, err := os.ReadFile(filepath.Join(c.lab.Dir, n.Name, "log"))
		if err != nil {
			text = []byte(err.Error())
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		c.t.Logf("engine %s:\n%s", n.Name, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
}

// in is the cluster for a subtest, which fails alone.
func (c *cluster) in(t testing.TB) *cluster {
	also := *c
	also.t = t
	return &also
}

// boot starts everything but workers.
func (c *cluster) boot() {
	c.t.Helper()
	network := c.run("network", "n1", nil, "sleep", "infinity")
	c.net = network.cmd.Process.Pid
	c.startRedis()
	c.http = clientIn(c.net, fmt.Sprintf("127.0.0.1:%d", c.apiPort))
	c.edge = clientIn(c.net, fmt.Sprintf("127.0.0.1:%d", c.edgePort))
	c.rdb = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", c.redisPort), Dialer: dialIn(c.net), ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	c.store = store.New(c.rdb, store.Config{})
	c.processes = map[string]*process{"network": network, "redis": c.redis, "api": c.api(), "gateway": c.start("gateway", fmt.Sprintf("LISTEN=:%d", c.edgePort))}
}

// api starts an API process and waits until it answers.
func (c *cluster) api(env ...string) *process {
	c.t.Helper()
	p := c.start("api", append([]string{fmt.Sprintf("LISTEN=:%d", c.apiPort)}, env...)...)
	c.answers(c.http)
	return p
}

// answers waits until an API does.
func (c *cluster) answers(api *http.Client) {
	c.t.Helper()
	c.eventually("the API answers", patience, func() error {
		res, err := api.Get("http://localhost/livez")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
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
	p := c.startWorker(node, env...)
	c.placeable(node, p)
	return p
}

func (c *cluster) startWorker(node string, env ...string) *process {
	c.t.Helper()
	n := c.lab.Node(node)
	all := append([]string{"DOCKER_HOST=" + n.Sock, "ENGINE_EXEC_ROOT=" + n.ExecRoot, "HOST_NETNS=" + n.NetNS}, env...)
	if node != "n1" {
		edge := c.edgeAddress()
		all = append(all, fmt.Sprintf("REDIS_URL=redis://%s:%d", edge, c.redisPort), fmt.Sprintf("EDGE_URL=http://%s:%d", edge, c.edgePort))
	}
	p := c.run("worker", node, all, os.Getenv("BERTH_BIN"), "worker")
	c.workers = append(c.workers, p)
	return p
}

// placeable waits until containers can be placed on a node.
func (c *cluster) placeable(node string, p *process) {
	c.t.Helper()
	c.eventually("admission knows the node "+node, patience, func() error {
		nodes, err := c.store.Nodes(context.Background())
		for _, n := range nodes {
			if n.Hostname == node && n.Placeable() && time.Since(n.At) < 10*time.Second {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("it is not placeable in %+v\n%s", nodes, tail(p.log.String())))
	})
}

// run starts a process in the network of a node's edge.
func (c *cluster) run(name, node string, env []string, program string, args ...string) *process {
	c.t.Helper()
	cmd := c.lab.EdgeCommand(context.Background(), node, program, args...)
	cmd.Env = append(append(cmd.Env, c.env...), env...)
	p := &process{name: name + " on " + node, cmd: cmd, log: &lockedBuffer{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { cmd.Wait(); close(p.done) }()
	c.all = append(c.all, p)
	return p
}

// end signals a process and waits for its end.
func (c *cluster) end(p *process, sig syscall.Signal) {
	select {
	case <-p.done: // its ID may be another's by now
		return
	default:
	}
	syscall.Kill(p.cmd.Process.Pid, syscall.SIGCONT)
	syscall.Kill(p.cmd.Process.Pid, sig)
	select {
	case <-p.done:
	case <-time.After(patience):
		c.t.Errorf("%s did not end within %s of %s", p.name, patience, sig)
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// tail is the end of a log.
func tail(s string) string {
	return s[max(0, len(s)-6000):]
}

// eventually polls until do succeeds, as poll does.
func (c *cluster) eventually(what string, within time.Duration, do func() error) {
	c.t.Helper()
	var err error
	if !poll(within, func() error { err = do(); return err }) {
		c.t.Fatalf("%s: not within %s: %v", what, within, err)
	}
}
