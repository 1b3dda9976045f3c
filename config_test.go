package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

const (
	testKey    = "admin-key-admin-key-admin-key-admin"
	testSecret = "secret-key-secret-key-secret-key-secret"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := LoadConfig([]string{"PATH=/bin", "LISTEN="})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":8080" || c.Domain != "localhost:8080" || c.ContainerDomain != "localhost:8080" || c.URLScheme != "http" || c.Isolation != "on" ||
		c.Routing != "gateway" || c.JobRetention != 7*24*time.Hour || c.MaxPerKey != 50 || c.Concurrency <= 0 || c.RedisURL != "" || c.HighCPU != 0 || c.HighMemory != 90 || c.HighDisk != 85 || c.PressureStop || c.HostProc != "/proc" {
		t.Errorf("got %+v", c)
	}
	want := ide.Resources{CPULimit: 2e9, MemoryLimit: 4 << 30, CPUReservation: 25e7, MemoryReservation: 512 << 20, PIDs: 2048}
	if diff := cmp.Diff(want, c.resources); diff != "" || c.most != (ide.Resources{}) {
		t.Errorf("at most %+v; resources (-want +got):\n%s", c.most, diff)
	}
}

func TestSettingsReachTheirUsers(t *testing.T) {
	t.Parallel()
	c, err := LoadConfig([]string{"DOMAIN=berth.example.com", "CONTAINER_DOMAIN=ide.example.com", "EDGE_URL=http://gateway:8080", "IMAGE=a", "IMAGE_ALLOW=b/*,c", "AWS_REGION=eu-west-1",
		"CPU_LIMIT=1.5", "MEMORY_LIMIT=2g", "CPU_RESERVATION=0.1", "MEMORY_RESERVATION=64m", "MAX_CPU=4", "MAX_MEMORY=8g", "PIDS_LIMIT=100", "MAX_CONTAINERS_PER_KEY=3",
		"PLACEMENT=pack", "DOCKER_HOST=unix:///d", "INSTANCE=i", "NETWORK=n", "NETWORK_SUBNET=10.1.0.0/16", "ROUTING=labels", "TRAEFIK_V2=true", "TRAEFIK_ENTRYPOINT=web",
		"TRAEFIK_CERT_RESOLVER=x", "STOP_GRACE=7s", "ENGINE_EXEC_ROOT=/e", "WEBHOOK_ALLOW=10.7.0.0/16, fd00::1", "MAX_WEBHOOKS_PER_KEY=2", "PRESSURE_STOP=true"})
	if err != nil {
		t.Fatal(err)
	}
	f := c.settings()
	if f.URLScheme != "https" || f.ContainerDomain != "ide.example.com" || f.EdgeURL != "http://gateway:8080" || f.Templates[0].Image != "a" || f.AWSRegion != "eu-west-1" ||
		f.MaxPerKey != 3 || !f.Pack || !f.PressureStop || strings.Join(f.ImageAllow, " ") != "b/* c" {
		t.Errorf("functions get %+v", f)
	}
	if len(f.WebhookAllow) != 2 || f.WebhookAllow[1].String() != "fd00::1/128" || f.WebhooksPerKey != 2 {
		t.Errorf("webhooks: functions get %v, %d", f.WebhookAllow, f.WebhooksPerKey)
	}
	if diff := cmp.Diff(ide.Resources{CPULimit: 15e8, MemoryLimit: 2 << 30, CPUReservation: 1e8, MemoryReservation: 64 << 20, PIDs: 100}, f.Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if f.MaxResources.CPULimit != 4e9 || f.MaxResources.MemoryLimit != 8<<30 {
		t.Errorf("at most %+v", f.MaxResources)
	}
	s := c.swarm()
	if s.Host != "unix:///d" || s.Instance != "i" || s.Network != "n" || s.Subnet != "10.1.0.0/16" || s.Routing != "labels" || !s.TraefikV2 || s.EntryPoint != "web" ||
		s.CertResolver != "x" || s.StopGrace != 7*time.Second || s.ExecRoot != "/e" {
		t.Errorf("swarm gets %+v", s)
	}
	for text, want := range map[string]string{"": "letsencrypt", "none": ""} {
		c, err := LoadConfig([]string{"TRAEFIK_CERT_RESOLVER=" + text})
		if err != nil || c.swarm().CertResolver != want {
			t.Errorf("TRAEFIK_CERT_RESOLVER=%s: got %q, %v, want %q", text, c.swarm().CertResolver, err, want)
		}
	}
}

func TestValuesFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c, err := LoadConfig([]string{"API_KEY_FILE=" + file("key", testKey+"\n"), "SECRET_KEY_FILE=" + file("secret", " "+testSecret+" \n"), "DOMAIN=plain.test",
		"DOMAIN_FILE=" + file("domain", "file.test"), "SOMETHING_FILE=" + filepath.Join(dir, "none"), "REDIS_URL=", "REDIS_URL_FILE=" + file("redis", "redis://r")})
	if err != nil {
		t.Fatal(err)
	}
	if c.APIKey != testKey || len(c.SecretKeys) != 1 || c.SecretKeys[0] != testSecret || c.RedisURL != "redis://r" {
		t.Errorf("got key %q, secrets %q, redis %q", c.APIKey, c.SecretKeys, c.RedisURL)
	}
	if c.Domain != "plain.test" {
		t.Errorf("got domain %q: a file went before the variable", c.Domain)
	}
	if _, err := LoadConfig([]string{"API_KEY_FILE=" + filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "API_KEY_FILE") {
		t.Errorf("got %v, want the variable whose file is missing", err)
	}
}

func TestBadChoicesNameTheirVariable(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"URL_SCHEME=ftp", "ISOLATION=maybe", "ISOLATION=true", "ROUTING=dns", "PLACEMENT=random", "LOG_LEVEL=loud", "LOG_LINES=10", "CONTAINER_LOG_LINES=1", "LOG_RATE=-1", "HIGH_WATER_CPU=101", "HIGH_WATER_DISK=-1", "LOG_LEVEL=INFO",
		"TRUSTED_PROXIES=everywhere", "WEBHOOK_ALLOW=inside", "MEMORY_LIMIT=much", "MEMORY_LIMIT=0", "MEMORY_RESERVATION=-1g", "MAX_MEMORY=4x"} {
		name, value, _ := strings.Cut(line, "=")
		_, err := LoadConfig([]string{line})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), value) {
			t.Errorf("%s: got %v, want the variable and its value", line, err)
		}
	}
	for _, line := range []string{"JOB_RETENTION=a week", "CPU_LIMIT=two", "PIDS_LIMIT=1.5", "TRAEFIK_V2=perhaps", "WORKER_CONCURRENCY=x", "RATE_LIMIT=fast"} {
		if _, err := LoadConfig([]string{line}); err == nil {
			t.Errorf("%s was accepted", line)
		}
	}
	if _, err := LoadConfig([]string{"MEMORY_LIMIT=x", "MAX_MEMORY=y"}); err == nil || !strings.Contains(err.Error(), "MEMORY_LIMIT") || !strings.Contains(err.Error(), "MAX_MEMORY") {
		t.Errorf("got %v, want both variables", err)
	}
}

func TestSecretsAreChecked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		environ []string
		want    string
	}{
		"no API key":              {[]string{"SECRET_KEY=" + testSecret}, "no API key"},
		"API key too short":       {[]string{"API_KEY=hunter2", "SECRET_KEY=" + testSecret}, `"admin" has 7 characters`},
		"one of several":          {[]string{"API_KEYS=a:client:hunter2", "SECRET_KEY=" + testSecret}, `"a" has 7 characters`},
		"no secret key":           {[]string{"API_KEY=" + testKey}, "no SECRET_KEY"},
		"secret key too short":    {[]string{"API_KEY=" + testKey, "SECRET_KEY=hunter2"}, "SECRET_KEY: secret key 1 has 7"},
		"second secret too short": {[]string{"API_KEY=" + testKey, "SECRET_KEY=" + testSecret + ",hunter2"}, "SECRET_KEY: secret key 2 has 7"},
	} {
		c, err := LoadConfig(tc.environ)
		if err != nil {
			t.Fatal(err)
		}
		if err = secrets(c); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q without the key", name, err, tc.want)
		}
	}
	c, err := LoadConfig([]string{"API_KEY=" + testKey, "API_KEYS=a:viewer:" + testKey + "x", "SECRET_KEY=" + testSecret + "," + testSecret + "2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := secrets(c); err != nil || len(c.keys) != 2 || c.box == nil {
		t.Errorf("got %v, keys %d", err, len(c.keys))
	}
}

func TestIsLocal(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]bool{
		"localhost": true, "localhost:8080": true, "ide.localhost": true, "ide.localhost:80": true,
		"example.com": false, "localhost.example.com": false, "notlocalhost": false, "127.0.0.1:8080": false, "": false,
	} {
		if got := isLocal(domain); got != want {
			t.Errorf("isLocal(%q) = %t, want %t", domain, got, want)
		}
	}
	for environ, want := range map[string]string{"DOMAIN=example.com": "https", "CONTAINER_DOMAIN=ide.example.com": "https", "CONTAINER_DOMAIN=ide.localhost:9": "http"} {
		if c, err := LoadConfig([]string{environ}); err != nil || c.URLScheme != want {
			t.Errorf("%s: got %v, want URLs with %s", environ, err, want)
		}
	}
}

// Every exported field is read from a variable: one without a tag would be
// silently empty.
func TestEveryFieldHasAVariable(t *testing.T) {
	t.Parallel()
	exported := 0
	for f := range reflect.TypeFor[Config]().Fields() {
		if f.IsExported() {
			exported++
		}
	}
	if got := len(variables()); got != exported || got < 30 {
		t.Errorf("got %d variables for %d fields", got, exported)
	}
}

// secrets reads all that a process with every role reads.
func secrets(c *Config) error {
	if err := c.readKeys(); err != nil {
		return err
	}
	return c.makeBox()
}

func TestTimesReachTheirUsers(t *testing.T) {
	t.Parallel()
	c, err := LoadConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := c.settings()
	if f.IdleTimeout != 10*time.Minute || f.IdleWarning != 2*time.Minute || f.MaxKeepalive != 24*time.Hour || f.MaxLifetime != 0 || f.MaxIdleTimeout != 0 || f.EdgeUnseen ||
		f.RecordRetention != 30*24*time.Hour || f.EventRetention != 7*24*time.Hour || f.Schedules["sweep-probe"] != "@every 15s" {
		t.Errorf("defaults: functions get %+v", f)
	}
	c, err = LoadConfig([]string{"IDLE_TIMEOUT=1h", "MAX_IDLE_TIMEOUT=2h", "IDLE_WARNING=0", "MAX_KEEPALIVE=3h", "MAX_LIFETIME=4h", "RECORD_RETENTION=5h", "EVENT_RETENTION=0",
		"PROBE_INTERVAL=1m", "ROUTING=labels"})
	if err != nil {
		t.Fatal(err)
	}
	f = c.settings()
	if f.IdleTimeout != time.Hour || f.MaxIdleTimeout != 2*time.Hour || f.IdleWarning != 0 || f.MaxKeepalive != 3*time.Hour || f.MaxLifetime != 4*time.Hour || !f.EdgeUnseen ||
		f.RecordRetention != 5*time.Hour || f.EventRetention != 0 || f.Schedules["sweep-probe"] != "@every 1m0s" {
		t.Errorf("functions get %+v", f)
	}
	for _, bad := range [][]string{{"PROBE_INTERVAL=500ms"}, {"PROBE_INTERVAL=1500ms"}, {"IDLE_TIMEOUT=-1s"}, {"IDLE_TIMEOUT=10ms"}, {"MAX_IDLE_TIMEOUT=5m"}, {"MAX_IDLE_TIMEOUT=5m", "IDLE_TIMEOUT=0"}} {
		if _, err := LoadConfig(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

var update = flag.Bool("update", false, "write docs/config.md")

// TestConfigReference keeps docs/config.md what config.go says: groups by the
// comments above them, and each variable with the comment behind it.
func TestConfigReference(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var fields []*ast.Field
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.TypeSpec); ok && s.Name.Name == "Config" {
			fields = s.Type.(*ast.StructType).Fields.List
		}
		return true
	})
	var b strings.Builder
	b.WriteString("# Settings\n\nMade from `config.go` by `make generate`. Every variable X can also be given as X_FILE, the path of a file that holds the value,\n" +
		"as Docker mounts secrets. A value that cannot be is refused at start, with the reason. Times are like `90s`, `10m`, `24h`.\n")
	grouped := 0
	for _, f := range fields {
		if f.Tag == nil {
			continue // what is derived
		}
		if title := strings.TrimSpace(f.Doc.Text()); title != "" {
			fmt.Fprintf(&b, "\n## %s\n\n| variable | default | |\n|---|---|---|\n", title)
			grouped++
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		name, standard := tag.Get("env"), tag.Get("envDefault")
		said := strings.TrimSpace(f.Comment.Text())
		if said == "" {
			t.Errorf("%s has no comment", name)
		}
		if standard != "" {
			standard = "`" + standard + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, standard, strings.ReplaceAll(said, "|", "\\|"))
	}
	if grouped < 8 || strings.Count(b.String(), "\n| `") != len(variables()) {
		t.Errorf("%d groups, %d of %d variables", grouped, strings.Count(b.String(), "\n| `"), len(variables()))
	}
	if *update {
		if err := os.WriteFile("docs/config.md", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("docs/config.md")
	if err != nil || string(have) != b.String() {
		t.Errorf("docs/config.md is stale (%v): run make generate", err)
	}
}
