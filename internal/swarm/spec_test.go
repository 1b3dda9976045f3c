package swarm

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample() ide.Container {
	return ide.Container{
		ID: "abcdefghijk23", Run: 3, Owner: "harbour", Status: ide.Starting,
		Image: "berth-ide:1", Node: "node1",
		S3:        ide.Bucket{Name: "work", Region: "eu-central-1", Prefix: "a"},
		Resources: ide.Resources{CPULimit: 2e9, MemoryLimit: 4 << 30, CPUReservation: 25e7, MemoryReservation: 512 << 20, PIDs: 512},
		Labels:    map[string]string{"team": "harbour", "traefik.enable": "false"},
		URLs:      ide.MakeURLs("https", "abcdefghijk23", "example.org"),
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Sealed:    "sealed secrets",
	}
}

func TestSpecGolden(t *testing.T) {
	t.Parallel()
	local := sample()
	local.URLs = ide.MakeURLs("http", local.ID, "localhost:8080")
	local.Node, local.Labels = "", nil
	hard := sample()
	hard.Hardening = ide.Hardening{ReadOnly: true, Tmpfs: []string{"/tmp", "/run"}, Capabilities: []string{"CHOWN"}}
	for name, tc := range map[string]struct {
		cfg    Config
		rec    ide.Container
		modern bool
	}{
		"gateway":             {cfg: Config{}, rec: sample()},
		"gateway-modern":      {cfg: Config{Guarded: true}, rec: sample(), modern: true},
		"gateway-hardened":    {cfg: Config{}, rec: hard},
		"labels-letsencrypt":  {cfg: Config{Routing: RoutingLabels, EntryPoint: "websecure", CertResolver: "letsencrypt"}, rec: sample()},
		"labels-wildcard":     {cfg: Config{Routing: RoutingLabels, EntryPoint: "websecure"}, rec: sample()},
		"labels-traefik-v2":   {cfg: Config{Routing: RoutingLabels, TraefikV2: true, EntryPoint: "websecure", CertResolver: "letsencrypt"}, rec: sample()},
		"labels-without-tls":  {cfg: Config{Routing: RoutingLabels, EntryPoint: "web"}, rec: local},
		"gateway-other-names": {cfg: Config{Network: "other", StopGrace: time.Minute}, rec: local},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.Instance = "main"
			cfg, err := tc.cfg.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			spec := Spec(cfg, tc.rec, "secret1")
			if tc.modern {
				modernize(&spec, tc.rec)
			}
			got, err := json.MarshalIndent(spec, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", append(got, '\n'))
			if bytes.Contains(got, []byte(tc.rec.Sealed)) {
				t.Error("the sealed secrets are in the spec")
			}
		})
	}
}

// An image without an agent has no /agent that a health check could run: Swarm
// would end each of its tasks.
func TestNoAgentNoHealthCheck(t *testing.T) {
	t.Parallel()
	rec := sample()
	rec.NoAgent = true
	spec := Spec(Config{}, rec, "secret1")
	modernize(&spec, rec)
	c := spec.TaskTemplate.ContainerSpec
	if c.Healthcheck != nil || c.Privileges == nil || !c.Privileges.NoNewPrivileges {
		t.Errorf("got %+v, %+v", c.Healthcheck, c.Privileges)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), -update accepts it:\n%s", path, diff)
	}
}

func TestConfigOfClientIsChecked(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"no instance":             {},
		"instance with a slash":   {Instance: "a/b"},
		"instance of 41 letters":  {Instance: "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddx"},
		"instance ends in a dash": {Instance: "a-"},
		"unknown routing":         {Instance: "a", Routing: "magic"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := New(cfg); err == nil {
				c.Close()
				t.Errorf("New(%+v) took it", cfg)
			} else if !ide.HasCode(err, ide.ValidationFailed) {
				t.Errorf("New(%+v): %v", cfg, err)
			}
		})
	}
	if _, err := New(Config{Instance: "a", Host: "nowhere"}); !ide.HasCode(err, ide.Docker) || !ide.IsPermanent(err) {
		t.Errorf("an address that is none: %v", err)
	}
	c, err := New(Config{Instance: "a"})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
