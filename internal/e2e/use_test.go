package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/lab"
	"berth/openapi"

	"github.com/docker/docker/api/types/container"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func (c *cluster) nodes() map[string]openapi.NodeRow {
	rows := map[string]openapi.NodeRow{}
	for _, n := range ask[openapi.NodeList](c, http.StatusOK, "GET", "/api/dashboard/nodes", "").Nodes {
		rows[n.Hostname] = n
	}
	return rows
}

// TestNodesAreMeasured looks at two nodes and a busy container over the API,
// kills a worker, and has a node above a mark.
func TestNodesAreMeasured(t *testing.T) {
	clients := lab.Open(t).ClientAddr
	c := newCluster(t, "CPU_PINNED_AFTER=20s", "CPU_LIMIT=0.1", "WEBHOOK_ALLOW="+clients+"/32")
	first, second := c.worker("n1"), c.worker("n2")
	started := c.create()
	c.succeed(started.Job.ID)
	got := c.get(started.ID)
	on := c.nodes()["n1"]
	name := "n1"
	if got.Node != on.ID {
		name = "n2"
	}
	c.busy(name, started.ID)

	c.eventually("both nodes are measured, and the container is busy", patience, func() error {
		for _, host := range []string{"n1", "n2"} {
			n := c.nodes()[host]
			if n.Stale || n.CPU.Used <= 0 || n.Memory.Used <= 0 || n.Disk.Total <= 0 || n.Disk.Percent <= 0 || n.StorageDriver == "" || len(n.Load) != 3 ||
				n.LastReport == nil || n.FreeAddresses <= 0 || n.Engine == "" || n.CPU.Total <= 0 {
				return fmt.Errorf("%s: %+v", host, n)
			}
		}
		u := c.get(started.ID).ResourceUsage
		if u == nil || u.CPU < 50 || u.Cores < 0.05 || u.Memory <= 0 || u.PIDs < 2 || u.MemoryPercent <= 0 || u.At.IsZero() {
			return fmt.Errorf("usage: %+v", u)
		}
		return nil
	})
	c.eventually("there is a history", patience, func() error {
		u := ask[openapi.Usage](c, http.StatusOK, "GET", "/api/containers/"+started.ID+"/usage?window=5m", "")
		n := ask[openapi.NodeUsage](c, http.StatusOK, "GET", "/api/nodes/"+on.ID+"/usage?window=5m", "")
		if len(u.Points) == 0 || u.Points[len(u.Points)-1].CPU < 50 || len(n.Points) < 2 {
			return fmt.Errorf("%+v, %+v", u, n)
		}
		return nil
	})
	if row := c.nodes()[name]; row.Containers != 1 || row.Running != 1 {
		t.Errorf("%s: %+v", name, row)
	}

	c.eventually("a container that keeps its CPU busy is told of", 2*patience, func() error {
		for _, e := range ask[openapi.EventList](c, http.StatusOK, "GET", "/api/containers/"+started.ID+"/events", "").Events {
			if e.Type == "container.pinned" && strings.Contains(e.Message, "at its limit (0.1 cores)") {
				return nil
			}
		}
		return errors.New("no such event")
	})

	pressed := c.hook(clients, "node.pressure")
	c.end(second, syscall.SIGKILL)
	c.eventually("n2 is stale in its own row", patience, func() error {
		o := ask[openapi.Overview](c, http.StatusOK, "GET", "/api/dashboard/overview", "")
		told := ""
		for _, a := range o.Attention {
			told += a.Kind + " "
		}
		if o.NodeCounts.Stale != 1 || !c.nodes()["n2"].Stale || c.nodes()["n1"].Stale || !strings.Contains(told, "node_stale") || o.Containers.Running != 1 {
			return fmt.Errorf("%+v, told %s", o.NodeCounts, told)
		}
		return nil
	})
	c.worker("n2", "HIGH_WATER_MEMORY=0.1") // whatever it has is more than that
	c.eventually("n2 is back, and above its mark", patience, func() error {
		if n := c.nodes()["n2"]; n.Stale || len(n.Above) != 1 || n.Placeable {
			return fmt.Errorf("%+v", n)
		}
		return nil
	})
	if row := c.get(c.create().ID); row.Node != c.nodes()["n1"].ID {
		t.Errorf("placed on %s, which is above its mark", row.Node)
	}
	select {
	case told := <-pressed:
		if told.Data.Node == nil || told.Data.Node.Hostname != "n2" || !slices.Equal(told.Data.Node.Pressure, []string{"memory"}) {
			t.Errorf("the webhook was told %+v", told)
		}
	case <-time.After(patience):
		t.Error("no webhook was told of the pressure")
	}
	c.eventually("the pressure was told", patience, func() error {
		if a, _ := c.call("GET", "/metrics", ""); !strings.Contains(string(a.body), fmt.Sprintf("berth_node_pressure{node=%q,resource=\"memory\"} 1", c.nodes()["n2"].ID)) {
			return errors.New("no such metric")
		}
		return nil
	})

	c.end(first, syscall.SIGTERM)
	c.worker("n1", "HIGH_WATER_MEMORY=0.1")
	c.eventually("n1 is above its mark, too", patience, func() error {
		if n := c.nodes()["n1"]; len(n.Above) != 1 || n.Placeable {
			return fmt.Errorf("%+v", n)
		}
		return nil
	})
	a, err := c.call("POST", "/api/containers/start", `{"s3Bucket":"work-pressed"}`)
	if err != nil || a.status != http.StatusServiceUnavailable || a.code() != ide.ResourceLimitExceeded || !strings.Contains(string(a.body), "above its mark") {
		t.Errorf("a start where all nodes are above their marks: got %s, %v", a, err)
	}
}

// hook makes a webhook for one type of event, and returns what is delivered to
// it, verified by the library of its standard. Workers reach it at an address
// of the lab's clients.
func (c *cluster) hook(address, event string) <-chan ide.Payload {
	c.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		c.t.Fatal(err)
	}
	got := make(chan ide.Payload, 16)
	made := ask[openapi.NewWebhookAnswer](c, http.StatusCreated, "POST", "/api/webhooks", fmt.Sprintf(`{"url":"http://%s/","events":[%q]}`, l.Addr(), event))
	verifier, err := standardwebhooks.NewWebhook(made.Secret)
	if err != nil {
		c.t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var p ide.Payload
		body, err := io.ReadAll(r.Body)
		if err = errors.Join(err, verifier.Verify(body, r.Header), json.Unmarshal(body, &p)); err != nil {
			c.t.Errorf("webhook: %v", err)
			return
		}
		got <- p
	})}
	go srv.Serve(l)
	c.t.Cleanup(func() { srv.Close() })
	return got
}

// busy has a program in a container keep a core busy.
func (c *cluster) busy(node, id string) {
	c.t.Helper()
	dir := c.t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "busy")
	build := exec.Command("go", "build", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	err := errors.Join(os.WriteFile(source, []byte("package main\n\nfunc main() {\n\tfor {\n\t}\n}\n"), 0o600), build.Run())
	if err != nil {
		c.t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		c.t.Fatal(err)
	}
	engine, engineID := c.engineOf(node, id)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = errors.Join(w.WriteHeader(&tar.Header{Name: "busy", Mode: 0o755, Size: int64(len(data)), Uid: 1000, Gid: 1000}), second(w.Write(data)), w.Close())
	ctx := context.Background()
	if err == nil {
		err = engine.CopyToContainer(ctx, engineID, ide.WorkspaceDir, &b, container.CopyToContainerOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := engine.ContainerExecCreate(ctx, engineID, container.ExecOptions{Cmd: []string{ide.WorkspaceDir + "/busy"}})
	if err == nil {
		err = engine.ContainerExecStart(ctx, made.ID, container.ExecStartOptions{Detach: true})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}
