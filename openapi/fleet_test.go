package openapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

// fleetBench is three nodes: one that does well, one that is short of memory
// and disk, one that is down.
func fleetBench(t *testing.T) *bench {
	b := newBench(t)
	now := time.Now().UTC()
	node := func(id, host, state string) ide.Node {
		return ide.Node{ID: id, Hostname: host, Role: "worker", State: state, Availability: "active", CPU: 8e9, Memory: 16 << 30, Filtered: true, At: now}
	}
	nodes := []ide.Node{node("n1", "node-1", "ready"), node("n2", "node-2", "ready"), node("n3", "node-3", "down")}
	b.must(b.st.PublishNodes(t.Context(), nodes))
	b.must(b.st.ReportUse(t.Context(), nodes[0], ide.NodeUse{At: now, Storage: "overlay2", Cores: 8, CPU: 2, Load: [3]float64{2, 1, 1}, Memory: 4 << 30, MemoryTotal: 16 << 30,
		Disk: 10 << 30, DiskTotal: 100 << 30, Stall: &ide.Stall{IO: 3}}))
	above := []ide.Mark{{Resource: ide.ResourceMemory, Percent: 95, Mark: 90, Since: now}}
	b.must(b.st.ReportUse(t.Context(), nodes[1], ide.NodeUse{At: now, Cores: 8, CPU: 4, Memory: 15 << 30, MemoryTotal: 16 << 30, Disk: 90 << 30, DiskTotal: 100 << 30,
		Above: above, Pressure: []string{ide.ResourceMemory}}))
	b.must(b.st.PublishAddresses(t.Context(), ide.Addresses{Total: 65_533, Free: 100, At: now}))
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// kinds are those of a list, in their order.
func kinds(list []Attention) string {
	var all []string
	for _, a := range list {
		all = append(all, strings.TrimSuffix(a.Kind+":"+a.Node, ":"))
	}
	return strings.Join(all, " ")
}

func TestOverview(t *testing.T) {
	t.Parallel()
	b := fleetBench(t)
	first, second := b.create(alice, "bucket-1"), b.create(alice, "bucket-2")
	for _, a := range []store.Admitted{first, second} {
		if a.Container.Node != "n1" {
			t.Errorf("placed on %s: node-2 is above its mark, node-3 is down", a.Container.Node)
		}
	}
	b.end(second.Job.ID, ide.JobFailed, ide.Errorf(ide.ContainerStartFailed, "No."))
	b.update(second.Container.ID, func(c *ide.Container) { c.Unsaved = true })
	if _, err := b.st.Move(t.Context(), first.Container.ID, 1, ide.Running, "test", "", nil); err != nil {
		t.Fatal(err)
	}
	b.must(b.st.ReportContainers(t.Context(), "n1", map[string]ide.ContainerUse{first.Container.ID: {At: time.Now(), Run: 1, CPU: 50.04, Cores: 0.75, Memory: 1 << 29, Percent: 25}}))

	var o Overview
	b.get(viewKey, "/api/dashboard/overview", &o)
	if o.Containers != (ContainerCounts{Total: 2, Starting: 1, Running: 1, Unsaved: 1}) || o.Jobs.Queued != 1 {
		t.Errorf("counts: %+v %+v", o.Containers, o.Jobs)
	}
	if o.Jobs.Waited <= 0 || o.Jobs.Waited > 60 {
		t.Errorf("the queued job has waited for %v s", o.Jobs.Waited)
	}
	if want := (Cores{Used: 6, Reserved: 0.2, Total: 24, Percent: 37.5}); o.CPU != want {
		t.Errorf("CPU is %+v, want %+v: used of the nodes that report", o.CPU, want)
	}
	if o.Memory.Used != 19<<30 || o.Memory.Total != 48<<30 || o.Memory.Reserved != 128<<20 || o.Disk.Used != 100<<30 || o.Disk.Percent != 50 {
		t.Errorf("memory is %+v, disk %+v", o.Memory, o.Disk)
	}
	if want := (NodeCounts{Total: 3, Ready: 2, Down: 1, Stale: 1, Above: 1, Placeable: 1}); o.NodeCounts != want {
		t.Errorf("nodes: %+v, want %+v", o.NodeCounts, want)
	}
	if got, want := kinds(o.Attention), "disk:n2 node_pressure:n2 node_down:n3 addresses container_unsaved:n1 job_failed"; got != want {
		t.Errorf("attention: %s, want %s", got, want)
	}
	if len(o.Active) != 1 || o.Active[0].ResourceUsage == nil || o.Active[0].ResourceUsage.CPU != 50 || o.Redis.UsedMemory == 0 || o.Redis.Policy != "noeviction" {
		t.Errorf("active: %+v, redis: %+v", o.Active, o.Redis)
	}
	n1 := o.Nodes[0]
	if n1.StorageDriver != "overlay2" || n1.Stale || !n1.Placeable || n1.Containers != 2 || n1.FreeAddresses != 100 || n1.FreeCPU != 7.8 || n1.LastReport == nil || n1.Stall.IO != 3 {
		t.Errorf("node-1: %+v", n1)
	}
	if n3 := o.Nodes[2]; !n3.Stale || n3.Placeable || n3.State != "down" || n3.LastReport != nil {
		t.Errorf("node-3: %+v", n3)
	}

	b.refused(b.call(aliceKey, "GET", "/api/dashboard/overview", ""), http.StatusForbidden, ide.Forbidden, "/api/dashboard/overview")
	b.refused(b.call(aliceKey, "GET", "/api/dashboard/nodes", ""), http.StatusForbidden, ide.Forbidden, "/api/dashboard/nodes")
}

func TestNothingFitsAboveTheMarks(t *testing.T) {
	t.Parallel()
	b := fleetBench(t)
	rooms, err := b.st.Room(t.Context())
	b.must(err)
	use := *rooms[0].Use
	use.Above = []ide.Mark{{Resource: ide.ResourceCPU, Percent: 97, Mark: 90}}
	b.must(b.st.ReportUse(t.Context(), rooms[0].Node, use))
	e := b.refused(b.call(aliceKey, "POST", "/api/containers/start", `{"s3Bucket":"bucket"}`), http.StatusServiceUnavailable, ide.ResourceLimitExceeded, "/api/containers/start")
	for _, part := range []string{"a node: cpu is at 97 %, above its mark of 90 %", "a node: memory is at 95 %"} {
		if !strings.Contains(e.Message, part) || strings.Contains(e.Message, "node-1") {
			t.Errorf("the refusal does not say %q, or names a node: %s", part, e.Message)
		}
	}
	e = b.refused(b.call(rootKey, "POST", "/api/containers/start", `{"s3Bucket":"bucket"}`), http.StatusServiceUnavailable, ide.ResourceLimitExceeded, "/api/containers/start")
	for _, part := range []string{"node-1: cpu is at 97 %, above its mark of 90 %", "node-2: memory is at 95 %"} {
		if !strings.Contains(e.Message, part) {
			t.Errorf("the refusal does not say %q to an admin: %s", part, e.Message)
		}
	}
	var check struct {
		Fits  bool
		Nodes []struct{ Why string }
	}
	b.read(b.call(rootKey, "POST", "/api/containers/check", `{"s3Bucket":"bucket"}`), http.StatusOK, &check)
	if check.Fits || !strings.Contains(check.Nodes[0].Why, "cpu is at 97 %") {
		t.Errorf("check: %+v", check)
	}
	use.Above = nil
	b.must(b.st.ReportUse(t.Context(), rooms[0].Node, use))
	if w := b.call(aliceKey, "POST", "/api/containers/start", `{"s3Bucket":"bucket"}`); w.Code != http.StatusAccepted {
		t.Errorf("below its mark: %d %s", w.Code, w.Body)
	}
	// what was reported long ago keeps nobody out
	use.Above, use.At = []ide.Mark{{Resource: ide.ResourceCPU, Percent: 97, Mark: 90}}, time.Now().Add(-time.Minute)
	b.must(b.st.ReportUse(t.Context(), rooms[0].Node, use))
	if w := b.call(aliceKey, "POST", "/api/containers/start", `{"s3Bucket":"bucket-2"}`); w.Code != http.StatusAccepted {
		t.Errorf("stale: %d %s", w.Code, w.Body)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	b := fleetBench(t)
	c := b.create(alice, "bucket-1").Container
	now := time.Now().Truncate(10 * time.Second)
	var past []store.Past
	for i := range 3 {
		past = append(past, store.Past{ID: c.ID, Step: 10 * time.Second, First: i == 0,
			Sample: ide.Sample{At: now.Add(time.Duration(i-3) * 10 * time.Second), CPU: 25 * float64(i), Memory: 50, NetIn: 1000}})
	}
	node := func(id string, cpu float64) store.Past {
		return store.Past{ID: id, Step: time.Minute, First: true, Sample: ide.Sample{At: now.Add(-time.Minute), CPU: cpu, Memory: 10, Disk: 50}}
	}
	b.must(b.st.KeepPast(t.Context(), []store.Past{node("n1", 20), node("n2", 60)}, past))

	var u Usage
	b.get(aliceKey, "/api/containers/"+c.ID+"/usage?window=5m", &u)
	if u.Step != 10 || len(u.Points) != 3 || u.Points[2].CPU != 50 || u.Points[2].Memory != 1<<30 || !u.Points[0].At.Equal(now.Add(-30*time.Second)) {
		t.Errorf("usage: %+v", u)
	}
	if in := u.Points[0].Network.In; in < 990 || in > 1010 {
		t.Errorf("network in: %v", in)
	}
	var n NodeUsage
	b.get(viewKey, "/api/nodes/n1/usage?window=2h&step=1m", &n)
	if n.Step != 60 || len(n.Points) != 1 || n.Points[0].CPU != 20 || n.Points[0].Disk != 50 || n.Points[0].Nodes != 1 {
		t.Errorf("node usage: %+v", n)
	}
	b.get(viewKey, "/api/dashboard/usage?window=1h", &n)
	if len(n.Points) != 1 || n.Points[0].CPU != 40 || n.Points[0].Nodes != 2 {
		t.Errorf("usage of all: %+v", n)
	}
	for _, bad := range []string{"window=25h", "window=1s", "window=x", "step=11s"} {
		b.refused(b.call(aliceKey, "GET", "/api/containers/"+c.ID+"/usage?"+bad, ""), http.StatusBadRequest, ide.ValidationFailed, "/api/containers/"+c.ID+"/usage")
	}
	b.refused(b.call(bobKey, "GET", "/api/containers/"+c.ID+"/usage", ""), http.StatusNotFound, ide.ContainerNotFound, "/api/containers/"+c.ID+"/usage")
}

func TestMetricsOfNodes(t *testing.T) {
	t.Parallel()
	b := fleetBench(t)
	got := b.call(viewKey, "GET", "/metrics", "").Body.String()
	for _, want := range []string{
		`berth_node_up{node="n1"} 1`, `berth_node_up{node="n3"} 0`, `berth_node_stale{node="n2"} 0`, `berth_node_stale{node="n3"} 1`,
		`berth_node_pressure{node="n1",resource="memory"} 0`, `berth_node_pressure{node="n2",resource="memory"} 1`, `berth_node_cpu_used_cores{node="n1"} 2`,
		`berth_node_memory_used_bytes{node="n1"} 4.294967296e+09`, `berth_node_disk_used_bytes{node="n2"} 9.663676416e+10`, `berth_node_placeable{node="n2"} 0`,
		`berth_addresses_free 100`, `berth_addresses 65533`, `berth_node_last_report_seconds{node="n1"}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(got, `berth_node_cpu_used_cores{node="n3"}`) {
		t.Error("what a node uses that does not report is told")
	}
}

// A node that fails starts which go well elsewhere needs somebody's attention, and
// its row says why it takes nothing.
func TestNodeThatFailsStartsIsShown(t *testing.T) {
	t.Parallel()
	b := fleetBench(t)
	for range 3 {
		b.must(b.st.NodeFailed(t.Context(), "n1"))
	}
	nodes, err := b.st.Nodes(t.Context())
	b.must(err)
	b.must(b.st.PublishNodes(t.Context(), nodes))
	var o Overview
	b.get(viewKey, "/api/dashboard/overview", &o)
	if got := kinds(o.Attention); !strings.Contains(got, "node_failing:n1") {
		t.Errorf("attention: %s", got)
	}
	if n1 := o.Nodes[0]; n1.Placeable || !strings.Contains(n1.Why, "takes nothing until") {
		t.Errorf("node-1: placeable %t, %q", n1.Placeable, n1.Why)
	}
}
