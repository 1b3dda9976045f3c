package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"berth/internal/ide"
	"berth/internal/lab"
	"berth/internal/store"
	"berth/openapi"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
)

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

// cleanUp stops and purges every container with fresh workers, whatever the
// test did to the others, and looks for what was left behind.
func (c *cluster) cleanUp() {
	var berth []*process
	for _, p := range c.all {
		if !slices.Contains(base, p.name) {
			berth = append(berth, p)
		}
	}
	c.endEach(berth)
	select {
	case <-c.redis.done:
		c.startRedis()
	default:
		syscall.Kill(c.redis.cmd.Process.Pid, syscall.SIGCONT)
	}
	c.api()
	if nodes := c.used(); len(nodes) > 0 {
		workers := map[string]*process{}
		for _, node := range nodes {
			// The node's edge may be another than the filter there knows: the worker admits itself.
			workers[node] = c.startWorker(node)
		}
		for node, p := range workers {
			c.placeable(node, p)
		}
	}
	c.purge()
}

// used names the nodes on which the cluster has something, and the first if there
// is any: its worker runs the jobs.
func (c *cluster) used() (names []string) {
	c.t.Helper()
	var all []ide.Container
	c.eventually("the records can be read", patience, func() (err error) {
		all, _, err = c.store.Containers(context.Background(), store.Filter{Limit: 1000})
		return err
	})
	for i, n := range c.lab.Nodes {
		id := c.engineID(n)
		if i == 0 && len(all) > 0 || id != "" && slices.ContainsFunc(all, func(one ide.Container) bool { return one.Node == id || slices.Contains(one.Kept, id) }) {
			names = append(names, n.Name)
		}
	}
	return names
}

// engineID is the ID of a node in the Swarm, empty where its engine does not answer.
func (c *cluster) engineID(n lab.Node) string {
	c.t.Helper()
	e, err := client.NewClientWithOpts(client.WithHost(n.Sock), client.WithAPIVersionNegotiation())
	if err != nil {
		c.t.Fatal(err)
	}
	defer e.Close()
	info, err := e.Info(context.Background())
	if err != nil {
		return ""
	}
	return info.Swarm.NodeID
}

// reaches says whether a node's edge reaches the control plane.
func (c *cluster) reaches(node string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return c.lab.EdgeCommand(ctx, node, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", c.edgeAddress(), c.redisPort)).Run()
}

// purge stops and purges every container, all at once, and looks for what was left
// behind.
func (c *cluster) purge() {
	c.eventually("all containers are purged", patience, func() error {
		list := ask[openapi.ContainerList](c, http.StatusOK, "GET", "/api/containers?limit=200", "")
		var jobs []string
		for _, one := range list.Containers {
			a, err := c.call("DELETE", "/api/containers/"+one.ID+"?purge=true", "")
			var j ide.Job
			if err == nil && json.Unmarshal(a.body, &j) == nil && a.status == http.StatusAccepted {
				jobs = append(jobs, j.ID)
			}
		}
		for _, j := range jobs {
			c.wait(j, patience)
		}
		if len(list.Containers) > 0 {
			return fmt.Errorf("%d containers were there", len(list.Containers))
		}
		return nil
	})
	if m := c.made(); len(m.services)+len(m.secrets)+len(m.configs) > 0 {
		c.t.Errorf("left behind: %+v", m)
	}
}
