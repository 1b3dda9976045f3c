package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"
	"berth/internal/s3"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"

	engine "github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/redis/go-redis/v9"
)

// bench is an installation of two nodes with which nothing is wrong.
type bench struct {
	*testing.T
	engine *swarmtest.Server
	second string // engine ID of the other node
	rdb    *redis.Client
	st     *store.Store
	shop   *httptest.Server // the store of workspaces
	clock  time.Duration    // of the store, ahead
	open   map[string]string
	names  map[string][]netip.Addr // "*" is the wildcard
	cfg    Config
}

const image = "registry.test/ide:3"

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, engine: swarmtest.NewServer(t), rdb: redistest.New(t), open: map[string]string{}}
	if info := b.rdb.Info(t.Context()).Val(); !strings.Contains(info, "maxmemory_policy") {
		t.Skip("needs a redis-server in PATH: the one of this process does not tell how it is set up")
	}
	b.st = store.New(b.rdb, store.Config{})
	b.config("appendonly", "yes")
	b.config("maxmemory-policy", "noeviction")
	b.second = b.engine.AddNode("node-2", 4e9, 8<<30)
	for _, id := range []string{b.engine.NodeID(), b.second} {
		b.report(func(*ide.Worker) {}, id)
	}
	client := b.client("10.86.0.0/16")
	b.must(client.EnsureNetwork(t.Context()))
	b.shop = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(b.clock).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<Error><Code>AccessDenied</Code></Error>")
	}))
	t.Cleanup(b.shop.Close)
	b.cfg = Config{Swarm: client, Redis: b.rdb, Images: []string{image}, Domain: "api.berth.test", ContainerDomain: "ide.test", TLS: true, Isolation: true, Egress: true, CheckTime: time.Minute,
		Self: "testdata/none", Dial: b.dial, Resolve: b.resolve, S3: b.s3(s3.Config{Endpoint: b.shop.URL})}
	front := netip.MustParseAddr("203.0.113.7")
	b.names = map[string][]netip.Addr{"api.berth.test": {front}, "*": {front}}
	listener := b.listen()
	for _, address := range []string{"192.0.2.1:2377", "192.0.2.1:7946", "192.0.2.2:7946", "10.86.0.9:9000", "203.0.113.7:80"} {
		b.open[address] = listener
	}
	authority := newAuthority(t)
	b.cfg.Roots = authority.roots
	b.serve(authority.issue(time.Now().Add(60*24*time.Hour), "api.berth.test", "*.ide.test"))
	b.container(b.second)
	return b
}

// client is a new one, which has yet to ask the engine for its version.
func (b *bench) client(subnet string) *swarm.Client {
	b.Helper()
	c, err := swarm.New(swarm.Config{Host: b.engine.Host(), Instance: "test", Subnet: subnet})
	b.must(err)
	b.Cleanup(func() { c.Close() })
	return c
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) config(name, value string) {
	b.Helper()
	b.must(b.rdb.ConfigSet(b.Context(), name, value).Err())
}

func (b *bench) s3(cfg s3.Config) *s3.Client {
	b.Helper()
	cfg.Interval, cfg.KeepGenerations = time.Minute, 10
	c, err := s3.New(cfg)
	b.must(err)
	return c
}

// report says what a worker on a node says.
func (b *bench) report(change func(*ide.Worker), node string) {
	b.Helper()
	w := ide.Worker{ID: "w-" + node, Node: node, Manager: node == b.engine.NodeID(), Engine: true, Filtered: true, Egress: true, Version: "v9", At: time.Now()}
	change(&w)
	b.must(b.st.Report(b.Context(), w))
}

// container has a record of a container that runs on a node.
func (b *bench) container(node string) {
	b.Helper()
	c := ide.Container{ID: ide.NewID(), Run: 1, Owner: "alice", Status: ide.Running, Image: image, Node: node, Address: "10.86.0.9", CreatedAt: time.Now()}
	_, err := b.st.Restore(b.Context(), c, ide.Job{}, true, 0, "")
	b.must(err)
}

// listen accepts whatever comes.
func (b *bench) listen() string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

func (b *bench) dial(ctx context.Context, network, address string) (net.Conn, error) {
	target, ok := b.open[address]
	if !ok {
		return nil, errors.New("connection refused")
	}
	return (&net.Dialer{}).DialContext(ctx, network, target)
}

func (b *bench) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	if a, ok := b.names[host]; ok {
		return a, nil
	}
	if strings.HasSuffix(host, ".ide.test") && b.names["*"] != nil {
		return b.names["*"], nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// hook changes what Redis says, or how soon.
type hook struct{ after func(redis.Cmder) }

func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.after(cmd)
		return err
	}
}
func (hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// says makes Redis's INFO have another value of a field.
func (b *bench) says(field, value string) {
	b.rdb.AddHook(hook{func(cmd redis.Cmder) {
		if s, ok := cmd.(*redis.StringCmd); ok && cmd.Name() == "info" {
			var lines []string
			for line := range strings.Lines(s.Val()) {
				if strings.HasPrefix(line, field+":") {
					line = field + ":" + value + "\r\n"
				}
				lines = append(lines, line)
			}
			s.SetVal(strings.Join(lines, ""))
		}
	}})
}

// far makes every call to Redis take longer, as over a long line.
func (b *bench) far(d time.Duration) { b.rdb.AddHook(hook{func(redis.Cmder) { time.Sleep(d) }}) }

// maxmemory allows Redis so many hundredths of what it uses.
func (b *bench) maxmemory(hundredths int) {
	b.Helper()
	for line := range strings.Lines(b.rdb.Info(b.Context(), "memory").Val()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			n, err := strconv.Atoi(v)
			b.must(err)
			b.says("used_memory", v)
			b.says("maxmemory", fmt.Sprint(n/100*hundredths))
		}
	}
}

func TestNothingIsWrong(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	list := Examine(t.Context(), b.cfg)
	for i := range list {
		f := &list[i]
		if f.Check == "redis latency" && strings.Contains(f.Found, "median") {
			f.Status, f.Do = OK, "" // it is that of the machine the tests run on, which may be busy
		}
		if f.Status != OK || f.Found == "" || f.Do != "" {
			t.Errorf("got %+v", *f)
		}
	}
	if len(list) != 21 || Failed(list) {
		t.Errorf("got %d findings, failed %t", len(list), Failed(list))
	}
}

// Engine 20.10 has the default, and does not tell of it.
func TestNoNewPrivilegesIsSeenFromInside(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.engine.SetInfo(func(i *system.Info) { i.SecurityOptions = i.SecurityOptions[:1] })
	b.cfg.Self = filepath.Join(t.TempDir(), "status")
	for given, want := range map[string]string{"1": OK, "0": Warn} {
		b.must(os.WriteFile(b.cfg.Self, []byte("Name:\tberth\nNoNewPrivs:\t"+given+"\nSeccomp:\t2\n"), 0o600))
		for _, f := range Examine(t.Context(), b.cfg) {
			if f.Check == "hardening" && f.Status != want {
				t.Errorf("NoNewPrivs %s: got %+v", given, f)
			}
		}
	}
}

// TestEachFaultIsFound breaks one thing at a time.
func TestEachFaultIsFound(t *testing.T) {
	t.Parallel()
	node := func(change func(*engine.Node)) func(*bench) {
		return func(b *bench) { b.engine.SetNode(b.second, change) }
	}
	info := func(change func(*system.Info)) func(*bench) { return func(b *bench) { b.engine.SetInfo(change) } }
	worker := func(change func(*ide.Worker)) func(*bench) {
		return func(b *bench) { b.report(change, b.second) }
	}
	for name, tc := range map[string]struct {
		spoil         func(*bench)
		check, status string
		words         string
	}{
		"no engine":                 {func(b *bench) { b.engine.Down() }, "engine", Fail, "cannot be reached"},
		"an engine of long ago":     {func(b *bench) { b.engine.SetAPI("1.40"); b.cfg.Swarm = b.client("10.86.0.0/16") }, "engine", Fail, "1.41 is needed"},
		"slow image storage":        {info(func(i *system.Info) { i.Driver = "vfs" }), "engine", Warn, "vfs"},
		"no seccomp":                {info(func(i *system.Info) { i.SecurityOptions = []string{"name=no-new-privileges"} }), "hardening", Fail, "seccomp"},
		"setuid works":              {info(func(i *system.Info) { i.SecurityOptions = i.SecurityOptions[:1] }), "hardening", Warn, "setuid"},
		"no swarm":                  {info(func(i *system.Info) { i.Swarm = engine.Info{LocalNodeState: engine.LocalNodeStateInactive} }), "swarm", Fail, "no Swarm"},
		"a locked swarm":            {info(func(i *system.Info) { i.Swarm = engine.Info{LocalNodeState: engine.LocalNodeStateLocked} }), "swarm", Fail, "locked"},
		"no leader":                 {func(b *bench) { b.engine.Fail("GET", "/swarm", 503, -1) }, "swarm", Fail, "manager"},
		"an even number":            {node(func(n *engine.Node) { n.Spec.Role = engine.NodeRoleManager }), "swarm", Warn, "2 managers"},
		"a lost manager":            {node(func(n *engine.Node) { n.Spec.Role, n.Status.State = engine.NodeRoleManager, engine.NodeStateDown }), "swarm", Fail, "1 of 2 managers"},
		"a node that is down":       {node(func(n *engine.Node) { n.Status.State = engine.NodeStateDown }), "nodes", Warn, "node-2 is down"},
		"a drained node":            {node(func(n *engine.Node) { n.Spec.Availability = engine.NodeAvailabilityDrain }), "nodes", Warn, "set to drain"},
		"a pool of one subnet":      {func(b *bench) { b.engine.SetPools("10.86.0.0/24") }, "address pools", Fail, "no further overlay"},
		"a pool that is small":      {func(b *bench) { b.engine.SetPools("10.87.0.0/22") }, "address pools", Warn, "4 of 4"},
		"nodes in the pool":         {func(b *bench) { b.engine.SetPools("192.0.0.0/8") }, "address pools", Warn, "has the address"},
		"no network":                {func(b *bench) { b.network("") }, "addresses", Warn, "not there yet"},
		"a network of another kind": {func(b *bench) { b.network("bridge") }, "addresses", Fail, "no attachable overlay"},
		"a full network":            {func(b *bench) { b.fill("10.99.0.0/29", 4) }, "addresses", Fail, "All 5 addresses"},
		"a network nearly full":     {func(b *bench) { b.fill("10.99.0.0/28", 4) }, "addresses", Warn, "8 of 13"},
		"nodes in the network":      {func(b *bench) { b.fill("192.0.2.0/24", 0) }, "addresses", Fail, "has the address"},
		"gossip is shut":            {func(b *bench) { delete(b.open, "192.0.2.2:7946") }, "swarm ports", Warn, "node-2 port 7946"},
		"managers are shut":         {func(b *bench) { delete(b.open, "192.0.2.1:2377") }, "swarm ports", Warn, "node-1 port 2377"},
		"no VXLAN":                  {func(b *bench) { delete(b.open, "10.86.0.9:9000") }, "overlay", Fail, "node-2"},
		"an engine for everybody":   {func(b *bench) { b.open["192.0.2.2:2375"] = b.open["203.0.113.7:80"] }, "closed ports", Fail, "node-2 port 2375"},
		"Redis for everybody":       {func(b *bench) { b.open["192.0.2.1:6379"] = b.open["203.0.113.7:80"] }, "closed ports", Fail, "node-1 port 6379"},
		"no Redis":                  {func(b *bench) { b.cfg.Redis, b.cfg.RedisErr = nil, errors.New("reach redis: refused") }, "redis", Fail, "refused"},
		"Redis that went away":      {func(b *bench) { b.must(b.rdb.Close()) }, "redis", Fail, ""},
		"Redis that evicts":         {func(b *bench) { b.config("maxmemory-policy", "allkeys-lru") }, "redis", Fail, "allkeys-lru"},
		"Redis without a file":      {func(b *bench) { b.config("appendonly", "no") }, "redis", Warn, "append-only"},
		"Redis of long ago":         {func(b *bench) { b.says("redis_version", "5.0.14") }, "redis", Fail, "5.0.14"},
		"a replica":                 {func(b *bench) { b.says("role", "slave") }, "redis", Fail, "replica"},
		"a full disk":               {func(b *bench) { b.says("aof_last_write_status", "err") }, "redis", Fail, "append-only"},
		"Redis is full":             {func(b *bench) { b.maxmemory(101) }, "redis memory", Fail, "refuses"},
		"Redis is filling":          {func(b *bench) { b.maxmemory(115) }, "redis memory", Warn, "MiB"},
		"Redis is very far":         {func(b *bench) { b.far(60 * time.Millisecond) }, "redis latency", Fail, "median"},
		"a node without worker":     {worker(func(w *ide.Worker) { w.At = w.At.Add(-time.Minute) }), "workers", Fail, "node-2 has no worker"},
		"no worker at all":          {func(b *bench) { b.must(b.rdb.FlushDB(b.Context()).Err()) }, "workers", Fail, "no job is done"},
		"a worker without engine":   {worker(func(w *ide.Worker) { w.Engine = false }), "workers", Fail, "does not reach"},
		"half an update":            {worker(func(w *ide.Worker) { w.Version = "v8" }), "workers", Warn, "2 versions"},
		"no filter":                 {worker(func(w *ide.Worker) { w.Filtered = false }), "isolation", Fail, "node-2"},
		"no egress rules":           {worker(func(w *ide.Worker) { w.Egress = false }), "egress", Fail, "node-2"},
		"egress off":                {func(b *bench) { b.cfg.Egress = false }, "egress", Warn, "credentials"},
		"isolation off":             {func(b *bench) { b.cfg.Isolation = false }, "isolation", Warn, "reach each other"},
		"an image to pull":          {worker(func(w *ide.Worker) { w.Missing = []string{image} }), "images", Warn, "node-2"},
		"an image nobody has": {func(b *bench) {
			b.cfg.Images = []string{"localhost/ide:1"}
			b.report(func(w *ide.Worker) { w.Missing = b.cfg.Images }, b.second)
		}, "images", Fail, "no registry has it"},
		"a worker's clock":     {worker(func(w *ide.Worker) { w.At = w.At.Add(time.Minute) }), "clocks", Fail, "off: node node-2 by "},
		"the engine's clock":   {func(b *bench) { b.engine.SetClock(-time.Minute) }, "clocks", Fail, "engine by -"},
		"no record of the API": {func(b *bench) { delete(b.names, "api.berth.test") }, "names", Fail, "api.berth.test has no address"},
		"no wildcard":          {func(b *bench) { delete(b.names, "*") }, "names", Fail, "random host"},
		"a wildcard elsewhere": {func(b *bench) { b.names["*"] = []netip.Addr{netip.MustParseAddr("203.0.113.8")} }, "names", Warn, "203.0.113.8"},
		"port 80 is shut":      {func(b *bench) { delete(b.open, "203.0.113.7:80") }, "entry ports", Fail, "port 80"},
		"port 443 is shut":     {func(b *bench) { delete(b.open, "203.0.113.7:443") }, "entry ports", Fail, "port 443"},
		"a self-made certificate": {func(b *bench) {
			b.serve(newAuthority(b.T).issue(time.Now().Add(time.Hour), "api.berth.test", "*.ide.test"))
		}, "certificates", Fail, "authority that is not known"},
		"no wildcard certificate":    {func(b *bench) { b.reissue(60*24*time.Hour, "api.berth.test") }, "certificates", Fail, "not for"},
		"an old certificate":         {func(b *bench) { b.reissue(-time.Hour, "api.berth.test", "*.ide.test") }, "certificates", Fail, "out of date"},
		"a certificate near its end": {func(b *bench) { b.reissue(5*24*time.Hour, "api.berth.test", "*.ide.test") }, "certificates", Warn, "4 days"},
		"nothing but TCP":            {func(b *bench) { b.open["203.0.113.7:443"] = b.open["203.0.113.7:80"] }, "certificates", Fail, "api.berth.test"},
		"no store":                   {func(b *bench) { b.shop.Close() }, "s3", Fail, "cannot be reached"},
		"another server":             {func(b *bench) { b.shop.Config.Handler = http.NotFoundHandler() }, "s3", Fail, "no S3 store"},
		"the store's clock":          {func(b *bench) { b.clock = 20 * time.Minute }, "s3", Fail, "off by"},
		"workspaces off":             {func(b *bench) { b.cfg.S3 = b.s3(s3.Config{Off: true}) }, "s3", Warn, "none"},
		"one writer":                 {func(b *bench) { b.cfg.S3 = b.s3(s3.Config{Endpoint: b.shop.URL, SingleWriter: true}) }, "s3", Warn, "two writers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			tc.spoil(b)
			list := Examine(t.Context(), b.cfg)
			found := false
			for _, f := range list {
				if f.Check != tc.check || f.Status != tc.status || !strings.Contains(f.Found, tc.words) {
					continue
				}
				found = true
				if f.Do == "" {
					t.Errorf("%q does not say what to do", f.Found)
				}
			}
			if !found {
				t.Errorf("want %s of %s with %q, got:\n%s", tc.status, tc.check, tc.words, shown(list))
			}
			if got := Failed(list); tc.status == Fail && !got {
				t.Error("the whole does not fail")
			}
		})
	}
}

func shown(list []Finding) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "%s %s: %s\n", f.Status, f.Check, f.Found)
	}
	return b.String()
}

// network replaces the containers' network by one of another driver, or none.
func (b *bench) network(driver string) {
	b.Helper()
	b.engine.RemoveNetwork("ide-network")
	if driver != "" {
		b.engine.AddNetwork("ide-network", driver, false)
	}
}

// fill replaces the containers' network by one with that subnet, and runs so
// many services on it.
func (b *bench) fill(subnet string, services int) {
	b.Helper()
	b.engine.RemoveNetwork("ide-network")
	c := b.client(subnet)
	b.must(c.EnsureNetwork(b.Context()))
	for range services {
		rec := ide.Container{ID: ide.NewID(), Run: 1, Image: "ide:1", Node: b.second, CreatedAt: time.Now()}
		secret, err := c.PutSecret(b.Context(), rec.ID, 1, []byte("{}"))
		b.must(err)
		b.must(c.CreateService(b.Context(), rec, secret))
		_, err = c.WaitRunning(b.Context(), rec, nil)
		b.must(err)
	}
}

// A slow answer is not taken for a clock that is off.
func TestClocksOfASlowMachine(t *testing.T) {
	t.Parallel()
	for _, slow := range []string{"time", "hgetall"} {
		t.Run(slow, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.rdb.AddHook(hook{func(cmd redis.Cmder) {
				if cmd.Name() == slow {
					time.Sleep(skew + time.Second)
					if slow == "time" { // the workers are read later, and one reports before that
						b.report(func(*ide.Worker) {}, b.second)
					}
				}
			}})
			for _, f := range Examine(t.Context(), b.cfg) {
				if f.Check == "clocks" && f.Status != OK {
					t.Errorf("got %+v", f)
				}
			}
		})
	}
}

func TestLatencyOfRedis(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		took   []time.Duration
		status string
		says   string
	}{
		"near":           {[]time.Duration{9e5, 1e6, 1e6}, OK, "1ms (median of 3)"},
		"far":            {[]time.Duration{8e6, 8e6, 8e6}, Warn, "8ms (median of 3)"},
		"very far":       {[]time.Duration{6e7, 6e7, 6e7}, Fail, "60ms (median of 3)"},
		"once disturbed": {[]time.Duration{3e9, 1e6, 1e6}, OK, "1ms (median of 3)"},
	} {
		if got := latency(tc.took); len(got) != 1 || got[0].Status != tc.status || !strings.Contains(got[0].Found, tc.says) {
			t.Errorf("%s: got %+v, want %s: %s", name, got, tc.status, tc.says)
		}
	}
}
