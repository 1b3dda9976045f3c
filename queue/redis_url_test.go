package queue

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/redistest"
	"github.com/google/go-cmp/cmp"

	"github.com/redis/go-redis/v9"
)

func TestSentinelURL(t *testing.T) {
	t.Parallel()
	type read struct {
		Master, User, Password, SentinelUser, SentinelPassword string
		Hosts                                                  []string
		DB                                                     int
	}
	for text, want := range map[string]read{
		"a:1,b:2,c:3?master=m": {Master: "m", Hosts: []string{"a:1", "b:2", "c:3"}},
		":p%2Fw%40@a,b:2,[fd00::1]:3,[fd00::2]/5?master=m": {
			Master: "m", Password: "p/w@", DB: 5, Hosts: []string{"a:26379", "b:2", "[fd00::1]:3", "[fd00::2]:26379"}},
		"u:p@a/?master=m&sentinel_user=s&sentinel_password=t%26": {
			Master: "m", User: "u", Password: "p", SentinelUser: "s", SentinelPassword: "t&", Hosts: []string{"a:26379"}},
	} {
		o, err := sentinels(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := read{o.MasterName, o.Username, o.Password, o.SentinelUsername, o.SentinelPassword, o.SentinelAddrs, o.DB}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"a:1", "a:1?master=", "a:1,,b:2?master=m", "?master=m", "a:1/x?master=m", "a:1?master=m&mastre=n", "a:1?master=%zz", "a b?master=m"} {
		if o, err := sentinels(text); err == nil {
			t.Errorf("%q was taken: %+v", text, o)
		}
	}
}

func TestRedisURLNamesUserAndDatabase(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"redis://u:p@h:7/3":              "tcp h:7 u p 3 tls=false",
		"redis://:p@h":                   "tcp h:6379  p 0 tls=false",
		"rediss://:p@h:7/0":              "tcp h:7  p 0 tls=true",
		"redis-socket://:p@/run/r?db=2":  "unix /run/r  p 2 tls=false",
		"redis-socket:///run/redis.sock": "unix /run/redis.sock   0 tls=false",
	} {
		c, err := newClient(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		o := c.(*redis.Client).Options()
		if got := fmt.Sprintf("%s %s %s %s %d tls=%t", o.Network, o.Addr, o.Username, o.Password, o.DB, o.TLSConfig != nil); got != want || o.PoolSize != poolSize {
			t.Errorf("%s: got %s, pool of %d, want %s", text, got, o.PoolSize, want)
		}
		c.Close()
	}
}

// serve starts a redis-server on a port of its own.
func serve(t *testing.T, args ...string) (port int) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server in PATH")
	}
	port = redistest.Port(t)
	cmd := exec.Command(path, append(args, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", t.TempDir())...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return port
}

// sentinel starts a master with a password and a sentinel that watches it,
// which has another.
func sentinel(t *testing.T) (address string) {
	t.Helper()
	master := serve(t, "--requirepass", "hunter2", "--save", "")
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("requirepass guard\nsentinel monitor main 127.0.0.1 %d 1\nsentinel auth-pass main hunter2\n", master)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", serve(t, conf, "--sentinel"))
}

// patience is enough for a server that has just been started.
const patience = 2 * time.Minute

func TestConnectRefusesARealCluster(t *testing.T) {
	t.Parallel()
	r, err := Connect(t.Context(), fmt.Sprintf("redis://127.0.0.1:%d", serve(t, "--cluster-enabled", "yes", "--save", "")), patience, quiet)
	if err == nil {
		r.Close()
	}
	if err == nil || err.Error() != "this is a Redis Cluster; Berth needs a single node or Sentinel" {
		t.Errorf("got %v", err)
	}
}

func TestConnectBySentinel(t *testing.T) {
	t.Parallel()
	at := sentinel(t)
	r, err := Connect(t.Context(), "redis-sentinel://:hunter2@127.0.0.1:1,"+at+"/1?master=main&sentinel_password=guard", patience, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	if info := r.Client.Info(t.Context(), "keyspace").Val(); !containsPrefix(info, "db1:") {
		t.Errorf("the key is not in database 1: %q", info)
	}
	for url, want := range map[string]string{
		"redis://:guard@" + at: "this is a Sentinel",
		"redis-sentinel://:hunter2@" + at + "?master=other&sentinel_password=guard": "reach redis",
		"redis-sentinel://:wrong@" + at + "?master=main&sentinel_password=guard":    "WRONGPASS",
	} {
		if r, err := Connect(t.Context(), url, 0, quiet); err == nil {
			r.Close()
			t.Errorf("%s was taken", url)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
}

func containsPrefix(text, prefix string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}
