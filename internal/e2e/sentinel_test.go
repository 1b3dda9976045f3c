package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/store"
	"berth/openapi"

	"github.com/redis/go-redis/v9"
)

// underSentinel gives the cluster's Redis a replica and three sentinels, and
// starts API and gateway anew with a REDIS_URL that names those. It returns the
// replica. Until notice is called no sentinel gives the master up, however long the
// machine stands still.
func (c *cluster) underSentinel() (replica *process, notice func()) {
	c.t.Helper()
	first := takePorts(c.t, c.lab, 4)
	replica = c.run("redis", "n1", nil, "redis-server", "--port", fmt.Sprint(first), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
		"--dir", c.t.TempDir(), "--maxmemory-policy", "noeviction", "--replicaof", fmt.Sprintf("127.0.0.1 %d", c.redisPort))
	var hosts []string
	for i := range 3 {
		port := first + 1 + i
		conf := filepath.Join(c.t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor berth 127.0.0.1 %d 2\nsentinel down-after-milliseconds berth 600000\nsentinel failover-timeout berth 5000\n", port, c.redisPort)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
		c.run("redis", "n1", nil, "redis-server", conf, "--sentinel")
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", port))
	}
	dial := dialIn(c.net)
	for _, host := range hosts {
		s := redis.NewSentinelClient(&redis.Options{Addr: host, Dialer: dial})
		c.eventually("a sentinel answers", patience, func() error {
			// One that was stopped for 2 s does nothing for so long afterwards; else it is 30 s.
			tilt := redis.NewStatusCmd(context.Background(), "sentinel", "debug", "tilt-period", "1000")
			return s.Process(context.Background(), tilt)
		})
		s.Close()
	}
	asked := redis.NewSentinelClient(&redis.Options{Addr: hosts[0], Dialer: dial})
	defer asked.Close()
	c.eventually("the sentinels know each other and the replica", patience, func() error {
		m, err := asked.Master(context.Background(), "berth").Result()
		if err != nil || m["num-slaves"] != "1" || m["num-other-sentinels"] != "2" {
			return fmt.Errorf("%v %v", m, err)
		}
		return nil
	})
	c.rdb.Close()
	c.rdb = redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "berth", SentinelAddrs: hosts, Dialer: dial})
	c.store = store.New(c.rdb, store.Config{})
	c.env = append(c.env, "REDIS_URL=redis-sentinel://"+strings.Join(hosts, ",")+"/0?master=berth")
	c.end(c.processes["api"], syscall.SIGTERM)
	c.end(c.processes["gateway"], syscall.SIGTERM)
	c.processes["api"], c.processes["gateway"] = c.api(), c.start("gateway", fmt.Sprintf("LISTEN=:%d", c.edgePort))
	return replica, func() {
		for _, host := range hosts {
			s := redis.NewSentinelClient(&redis.Options{Addr: host, Dialer: dial})
			if err := s.Set(context.Background(), "berth", "down-after-milliseconds", "1000").Err(); err != nil {
				c.t.Fatal(err)
			}
			s.Close()
		}
	}
}

// load asks for API keys and containers until it is stopped, and keeps what was
// accepted. What is not answered is asked for again, with the same
// Idempotency-Key.
type load struct {
	c    *cluster
	stop context.CancelFunc
	all  sync.WaitGroup

	mu         sync.Mutex
	keys       []string
	containers []functions.StartAnswer
	refused    int
}

func (c *cluster) startLoad(containers int) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{c: c, stop: stop}
	for i := range 4 {
		l.all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				name := fmt.Sprintf("load-%d-%d", i, n)
				if l.ask(ctx, "/api/keys", fmt.Sprintf(`{"name":%q,"role":"viewer"}`, name), http.StatusCreated, nil) {
					l.mu.Lock()
					l.keys = append(l.keys, name)
					l.mu.Unlock()
				}
			}
		})
	}
	l.all.Go(func() {
		for n := 0; n < containers && ctx.Err() == nil; n++ {
			var s functions.StartAnswer
			if l.ask(ctx, "/api/containers/start", fmt.Sprintf(`{"s3Bucket":"ws-%s"}`, ide.NewID()), http.StatusAccepted, &s) {
				l.mu.Lock()
				l.containers = append(l.containers, s)
				l.mu.Unlock()
			}
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond): // about what the lab can start
			}
		}
	})
	return l
}

// ask says whether a request was accepted before the load was stopped.
func (l *load) ask(ctx context.Context, path, body string, want int, out any) bool {
	key := ide.NewID()
	for ctx.Err() == nil {
		a, err := l.c.call(http.MethodPost, path, body, "Idempotency-Key", key)
		if err == nil && a.status == want {
			return out == nil || json.Unmarshal(a.body, out) == nil
		}
		if err == nil && a.status != http.StatusServiceUnavailable && a.status != http.StatusConflict {
			l.c.t.Errorf("%s: got %s", path, a)
			return false
		}
		l.mu.Lock()
		l.refused++
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}

func (l *load) accepted() (keys []string, containers []functions.StartAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.keys), slices.Clone(l.containers)
}

// TestSentinelFailOver kills the master while the API is asked for keys and
// containers. What had reached the replica is there and is done; the last
// moments may be lost, and then Swarm and records find back to each other.
func TestSentinelFailOver(t *testing.T) {
	crowd(t)
	c := newCluster(t, "MAX_CONTAINERS_PER_KEY=0")
	replica, notice := c.underSentinel()
	c.worker("n1")
	c.worker("n1")
	l := c.startLoad(12)
	c.eventually("some was accepted", patience, func() error {
		if keys, containers := l.accepted(); len(keys) < 100 || len(containers) < 4 {
			return fmt.Errorf("%d keys, %d containers", len(keys), len(containers))
		}
		return nil
	})

	// WAIT returns when all that was written before is on the replica.
	keys, containers := l.accepted()
	conn := c.rdb.Conn()
	if err := conn.Set(context.Background(), "mark", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	c.eventually("the replica has it", patience, func() error {
		if n, err := conn.Wait(context.Background(), 1, 5*time.Second).Result(); n != 1 || err != nil {
			return fmt.Errorf("replicas: %d, %v", n, err)
		}
		return nil
	})
	conn.Close()
	before, _ := l.accepted()
	killed := time.Now()
	c.end(c.redis, syscall.SIGKILL)
	notice()
	c.redis = replica
	c.eventually("another hundred is accepted", patience, func() error {
		if now, _ := l.accepted(); len(now) < len(before)+100 {
			return fmt.Errorf("%d keys", len(now)-len(before))
		}
		return nil
	})
	gap := time.Since(killed)
	c.eventually("all containers were asked for", patience, func() error {
		if _, now := l.accepted(); len(now) < 12 {
			return fmt.Errorf("%d", len(now))
		}
		return nil
	})
	l.stop()
	l.all.Wait()

	known := map[string]bool{}
	for _, k := range ask[openapi.KeyList](c, http.StatusOK, "GET", "/api/keys", "").Keys {
		known[k.Name] = true
	}
	lost := 0
	all, started := l.accepted()
	for i, name := range all {
		if !known[name] {
			lost++
			if i < len(keys) {
				t.Errorf("the key %s was accepted and replicated, and is not there", name)
			}
		}
	}
	gone := 0
	for i, s := range started {
		a, err := c.call("GET", "/api/jobs/"+s.Job.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		if a.status == http.StatusNotFound && i >= len(containers) {
			gone++
			continue
		}
		c.succeed(s.Job.ID)
	}
	t.Logf("accepted %d keys and %d containers, %d of them before the mark; lost %d keys and %d containers; %d answers were 503, and 100 more keys were accepted %s after the kill",
		len(all), len(started), len(keys), lost, gone, l.refused, gap.Round(10*time.Millisecond))

	c.eventually("Swarm and records agree", patience, func() error {
		list := ask[openapi.ContainerList](c, http.StatusOK, "GET", "/api/containers?limit=200&status=running", "")
		services := c.made().services
		for _, one := range list.Containers {
			if !slices.Contains(services, "berth-"+one.ID) {
				return fmt.Errorf("%s has no service", one.ID)
			}
		}
		if len(services) != list.Total {
			return errors.New(strings.Join(services, " "))
		}
		return nil
	})
	// The old master comes back as a replica.
	c.startOldMaster()
}

// startOldMaster starts the Redis that was killed, and waits until it follows.
func (c *cluster) startOldMaster() {
	c.t.Helper()
	now := c.redis
	c.startRedis()
	c.redis = now
	old := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", c.redisPort), Dialer: dialIn(c.net)})
	defer old.Close()
	c.eventually("the old master follows the new one", patience, func() error {
		info, err := old.Info(context.Background(), "replication").Result()
		if err != nil || !strings.Contains(info, "role:slave") || !strings.Contains(info, "master_link_status:up") {
			return fmt.Errorf("%s %v", info, err)
		}
		return nil
	})
}
