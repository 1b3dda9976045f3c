package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/functions"
	"berth/internal/ide"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// TestHardening asks the engine what containers are held by: one of the default
// template, and one of a template whose image bears more.
func TestHardening(t *testing.T) {
	crowd(t)
	file := filepath.Join(t.TempDir(), "templates.yaml")
	text := "templates:\n- {name: hard, readOnly: true, capabilities: [CHOWN], resources: {pids: 64}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, "TEMPLATES="+file, "PIDS_LIMIT=333")
	c.worker("n1")
	for name, want := range map[string]struct {
		readOnly bool
		pids     int64
		add      []string
		tmpfs    int
	}{
		"default": {false, 333, nil, 0},
		"hard":    {true, 64, []string{"CHOWN"}, 2},
	} {
		one := ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start", `{"template":"`+name+`","s3Bucket":"ws-`+ide.NewID()+`"}`)
		c.succeed("container-create:" + one.ID + ":1")
		list, err := c.engine.ContainerList(context.Background(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "berth.id="+one.ID))})
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %d containers, %v", name, len(list), err)
		}
		got, err := c.engine.ContainerInspect(context.Background(), list[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		h := got.HostConfig
		tmpfs, added := 0, []string(nil)
		for _, name := range h.CapAdd {
			added = append(added, strings.TrimPrefix(name, "CAP_")) // newer engines say it in full
		}
		for _, m := range h.Mounts {
			switch m.Type {
			case "tmpfs":
				tmpfs++
			case "volume":
			default:
				t.Errorf("%s: %s of the host's is mounted at %s", name, m.Source, m.Target)
			}
		}
		if h.ReadonlyRootfs != want.readOnly || h.PidsLimit == nil || *h.PidsLimit != want.pids || tmpfs != want.tmpfs || !slices.Equal(added, want.add) {
			t.Errorf("%s: read-only %t, %v processes, %d tmpfs, added %v; want %+v", name, h.ReadonlyRootfs, h.PidsLimit, tmpfs, h.CapAdd, want)
		}
		if got.Config.User != "1000:1000" || !slices.Contains(h.CapDrop, "ALL") || h.Privileged || len(h.Binds) > 0 || h.Memory == 0 || h.NanoCPUs == 0 ||
			h.NetworkMode.IsHost() || h.PidMode.IsHost() || h.IpcMode.IsHost() || len(h.PortBindings) > 0 || slices.Contains(h.SecurityOpt, "seccomp=unconfined") {
			t.Errorf("%s: user %s, %+v", name, got.Config.User, h)
		}
		services, err := c.engine.ServiceList(context.Background(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", "berth.id="+one.ID))})
		if err != nil || len(services) != 1 {
			t.Fatalf("%s: %d services, %v", name, len(services), err)
		}
		if p := services[0].Spec.TaskTemplate.RestartPolicy; p == nil || p.MaxAttempts == nil || *p.MaxAttempts != 3 || p.Window == nil || *p.Window == 0 {
			t.Errorf("%s: restarts are not bounded: %+v", name, p)
		}
	}
}
