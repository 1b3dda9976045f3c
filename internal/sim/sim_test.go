package sim

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/s3"
	"berth/internal/seal"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"
	"berth/queue"

	api "github.com/docker/docker/api/types/swarm"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"golang.org/x/sync/errgroup"
)

func init() { logging.Disable() }

const (
	secretKey = "secret-key-secret-key-secret-key-secret"
	viewKey   = "view-key-view-key-view-key-view-key-view"
	instance  = "sim"
	edge      = "127.0.0.1:9001"
	apiAt     = "127.0.0.1:9002"
	processes = 4 // that the nodes' workers are spread over
	managers  = 3
)

// number reads a setting.
func number(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

// TestSim starts a Swarm of many nodes with many running containers, a real
// Redis, the program's API, and the nodes' workers in four processes, and prints
// what each uses in a steady state, in which dashboards poll. It listens on
// port 9000 of all loopback addresses, so it has a network namespace of its own.
func TestSim(t *testing.T) {
	minutes := number("SIM_MINUTES", 0)
	if minutes == 0 {
		t.Skip("simulates a fleet for minutes: run make sim")
	}
	f := newFleet(t, number("SIM_NODES", 100), number("SIM_CONTAINERS", 10_000))
	f.fill()
	f.start()
	f.settle()
	f.measure(time.Duration(minutes) * time.Minute)
}

// fleet is all that is simulated, and what runs on it.
type fleet struct {
	*testing.T
	nodes, containers int
	swarm             *swarmtest.Server
	engines           []string // addresses, by node
	ids               []string // of the nodes
	box               *seal.Box
	rdb               *redis.Client
	deps              *functions.Deps
	running           []*process
}

func newFleet(t *testing.T, nodes, containers int) *fleet {
	f := &fleet{T: t, nodes: nodes, containers: containers, swarm: swarmtest.NewServer(t), rdb: redistest.New(t)}
	var err error
	if f.box, err = seal.New(secretKey); err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		id, host := f.swarm.NodeID(), f.swarm.Host()
		if i > 0 {
			id = f.swarm.AddNode(fmt.Sprintf("node-%d", i+1), 64e9, 256<<30)
			host = f.swarm.Engine(t, id)
		}
		f.swarm.SetNode(id, func(n *api.Node) {
			n.Description.Resources = api.Resources{NanoCPUs: 64e9, MemoryBytes: 256 << 30}
			if i < managers {
				n.Spec.Role, n.ManagerStatus = api.NodeRoleManager, &api.ManagerStatus{Reachability: api.ReachabilityReachable}
			}
		})
		f.ids, f.engines = append(f.ids, id), append(f.engines, host)
	}
	f.deps = deps(f.rdb, f.box, f.engines[0], slog.New(slog.DiscardHandler))
	t.Cleanup(func() { f.deps.Swarm.Close() })
	return f
}

// deps are what workers and this process work with.
func deps(rdb *redis.Client, box *seal.Box, engine string, log *slog.Logger) *functions.Deps {
	client, err := swarm.New(swarm.Config{Host: engine, Instance: instance, Subnet: "10.64.0.0/16"})
	if err != nil {
		panic(err) // of constants
	}
	off, err := s3.New(s3.Config{Off: true})
	if err != nil {
		panic(err)
	}
	return &functions.Deps{Store: store.New(rdb, store.Config{}), Queue: queue.New(rdb), Swarm: client, S3: off, Box: box, HTTP: functions.AgentClient(), Hooks: functions.WebhookClient(nil), Log: log,
		Settings: functions.Settings{URLScheme: "http", ContainerDomain: "ide.test", EdgeURL: "http://" + edge, Templates: []ide.Template{{Name: "default", Image: "ide:1"}}, AWSRegion: "us-east-1",
			IdleWarning: 2 * time.Minute, RecordRetention: 720 * time.Hour, EventRetention: 168 * time.Hour}}
}

// fill makes every container in the Swarm, and brings the records from there.
func (f *fleet) fill() {
	ctx := f.Context()
	began := time.Now()
	f.must(f.deps.Swarm.EnsureNetwork(ctx))
	var group errgroup.Group
	group.SetLimit(16)
	for i := range f.containers {
		group.Go(func() error { return f.one(ctx, f.ids[i%f.nodes]) })
	}
	f.must(group.Wait())
	f.until("all tasks run", 5*time.Minute, func() bool {
		tasks, err := f.deps.Swarm.Tasks(ctx)
		f.must(err)
		return len(tasks) == f.containers && !slices.ContainsFunc(tasks, func(t ide.Task) bool { return t.State != "running" })
	})
	f.Logf("%d nodes and %d containers made in %s", f.nodes, f.containers, time.Since(began).Round(time.Second))
	began = time.Now()
	back, err := functions.Rebuild(ctx, f.deps, false)
	f.must(err)
	f.Logf("%d records brought back from Swarm in %s", len(back), time.Since(began).Round(100*time.Millisecond))
	tasks, err := f.deps.Swarm.Tasks(ctx)
	f.must(err)
	for _, t := range tasks {
		group.Go(func() error {
			_, err := f.deps.Store.Update(ctx, t.Container, func(c *ide.Container) error {
				c.Address, c.Watch.Used = t.Address, &ide.Use{At: time.Now().UTC(), Source: ide.UseStart, Signal: ide.SignalRecord}
				return nil
			})
			return err
		})
		f.swarm.SetUse("berth-"+t.Container, swarmtest.Use{Cores: 0.1, Memory: 700 << 20, Traffic: 1000})
	}
	f.must(group.Wait())
}

func (f *fleet) one(ctx context.Context, node string) error {
	now := time.Now().UTC()
	c := ide.Container{ID: ide.NewID(), Run: 1, Owner: fmt.Sprintf("course-%d", now.UnixNano()%20), Status: ide.Running, Image: "ide:1", Node: node, CreatedAt: now, StartedAt: &now,
		S3: ide.Bucket{Name: "workspace", Region: "us-east-1"}, IdleTimeout: 600, Labels: map[string]string{"course": "1"}, Template: "default", Probe: ide.NewID(),
		Resources: ide.Resources{CPULimit: 2e9, MemoryLimit: 4 << 30, CPUReservation: 25e7, MemoryReservation: 512 << 20, PIDs: 2048}}
	c.URLs = ide.MakeURLs("http", c.ID, "ide.test")
	sealed, err := f.box.Seal("container/"+c.ID, ide.Secrets{AgentToken: "token", VNCPassword: "hunter22", CodePassword: "hunter2222222222"})
	if err != nil {
		return err
	}
	c.Sealed = sealed
	if err := f.deps.Swarm.PutConfig(ctx, c, []byte(sealed)); err != nil {
		return err
	}
	secret, err := f.deps.Swarm.PutSecret(ctx, c.ID, c.Run, []byte("{}"))
	if err != nil {
		return err
	}
	return f.deps.Swarm.CreateService(ctx, c, secret)
}

// process is one that is measured.
type process struct {
	name string
	pid  int
	cpu  time.Duration
}

// run starts a process that ends with the test.
func (f *fleet) run(name string, env []string, program string, args ...string) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	log := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	f.must(cmd.Start())
	f.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		stopped := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		stopped.Stop()
		if f.Failed() {
			f.Logf("%s:\n%s", name, log.Bytes()[max(0, log.Len()-4000):])
		}
	})
	f.running = append(f.running, &process{name: name, pid: cmd.Process.Pid})
}

// start starts the API and the workers.
func (f *fleet) start() {
	url := "redis-socket://" + f.rdb.Options().Addr
	info, err := f.rdb.Info(f.Context(), "server").Result()
	f.must(err)
	pid, _ := strconv.Atoi(field(info, "process_id"))
	f.running = append(f.running, &process{name: "redis", pid: pid})
	f.run("api", []string{"API_KEYS=eve:viewer:" + viewKey, "SECRET_KEY=" + secretKey, "REDIS_URL=" + url, "LISTEN=" + apiAt, "DOMAIN=" + apiAt, "CONTAINER_DOMAIN=ide.test",
		"S3_ENDPOINT=none", "RATE_LIMIT=0", "LOG_LEVEL=warn"}, os.Getenv("BERTH_BIN"), "api")
	self, err := os.Executable()
	f.must(err)
	f.run("(agents and edge)", []string{"SIM_INSIDE=1"}, self)
	for p := range processes {
		var engines []string
		for i := p; i < f.nodes; i += processes {
			engines = append(engines, f.engines[i])
		}
		f.run(fmt.Sprintf("workers of %d nodes", len(engines)), []string{"SIM_ENGINES=" + strings.Join(engines, ","), "SIM_REDIS=" + f.rdb.Options().Addr}, self)
	}
}

// settle waits until every node has reported, and its containers twice.
func (f *fleet) settle() {
	began := time.Now()
	f.until("every node has reported", 5*time.Minute, func() bool {
		rooms, err := f.deps.Store.Room(f.Context())
		f.must(err)
		n := 0
		for _, r := range rooms {
			if !r.Stale() && len(r.Use.Busiest) > 0 && r.Use.Busiest[0].Cores > 0 {
				n++
			}
		}
		return n == f.nodes
	})
	f.Logf("all nodes have reported after %s", time.Since(began).Round(time.Second))
	f.until("a probe sweep has ended", 5*time.Minute, func() bool {
		j, ok, err := f.deps.Store.LastJob(f.Context(), functions.SweepProbe.Name)
		f.must(err)
		return ok && j.Status.Ended()
	})
}

func (f *fleet) until(what string, most time.Duration, ok func() bool) {
	f.Helper()
	for end := time.Now().Add(most); !ok(); time.Sleep(time.Second) {
		if time.Now().After(end) {
			f.Fatalf("%s: not within %s", what, most)
		}
	}
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// visitor has connections of its own.
var visitor = &http.Client{Transport: &http.Transport{}}

// polls asks as dashboards do until ctx ends, and returns how long answers
// took.
func (f *fleet) polls(ctx context.Context, path string, every time.Duration) (took []time.Duration) {
	for tick := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			return took
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+apiAt+path, nil)
		f.must(err)
		req.Header.Set("Authorization", "Bearer "+viewKey)
		at := time.Now()
		res, err := visitor.Do(req)
		if err != nil {
			continue // at the end
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(res.Body); err == nil && res.StatusCode == http.StatusOK {
			took = append(took, time.Since(at))
		}
		res.Body.Close()
	}
}

// measure prints what each process uses.
func (f *fleet) measure(span time.Duration) {
	ctx, cancel := context.WithTimeout(f.Context(), span)
	defer cancel()
	before := f.commands()
	for _, p := range f.running {
		p.cpu = cpuOf(p.pid)
	}
	own, began := cpuOf(os.Getpid()), time.Now()
	paths := []string{"/api/dashboard/overview", "/api/dashboard/nodes", "/api/containers?limit=200"}
	took := make([][]time.Duration, len(paths))
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() { took[i] = f.polls(ctx, path, 2*time.Second) })
	}
	wg.Wait()
	real := time.Since(began)
	after := f.commands()
	var out strings.Builder
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(&out, "\n%d nodes, %d containers, %s, load average %s", f.nodes, f.containers, real.Round(time.Second), load)
	fmt.Fprintf(&out, "%-28s %8s %10s\n", "process", "CPU", "memory")
	line := func(name string, cpu time.Duration, pid int) {
		fmt.Fprintf(&out, "%-28s %6.1f %% %6d MiB\n", name, cpu.Seconds()/real.Seconds()*100, resident(pid)>>20)
	}
	for _, p := range f.running {
		line(p.name, cpuOf(p.pid)-p.cpu, p.pid)
	}
	line("(the fake engines)", cpuOf(os.Getpid())-own, os.Getpid())
	for i, path := range paths {
		slices.Sort(took[i])
		if n := len(took[i]); n > 0 {
			fmt.Fprintf(&out, "%-28s p50 %.1f ms, p99 %.1f ms (%d)\n", path, ms(took[i][n/2]), ms(took[i][min(n-1, n*99/100)]), n)
		}
	}
	info, err := f.rdb.Info(f.Context(), "memory").Result()
	f.must(err)
	used, _ := strconv.Atoi(field(info, "used_memory"))
	fmt.Fprintf(&out, "redis holds %d MiB\n", used>>20)
	f.commandTable(&out, before, after, real)
	f.memoryTable(&out)
	f.sweepTable(&out)
	f.Log(out.String())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
