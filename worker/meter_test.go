package worker

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm/swarmtest"
)

// proc is the /proc of a machine with two cores and 1,000 MiB.
type proc struct {
	*bench
	dir string
}

func newProc(b *bench) *proc {
	p := &proc{b, b.TempDir()}
	p.write("cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n")
	p.write("loadavg", "1.50 0.75 0.25 2/345 6789\n")
	p.write("pressure/cpu", "some avg10=12.50 avg60=1.00 avg300=0.50 total=1\n")
	p.write("pressure/memory", "some avg10=2.00 avg60=1.00 avg300=0.50 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
	p.write("pressure/io", "some avg10=0.00 avg60=1.00 avg300=0.50 total=1\n")
	p.times(0, 100)
	p.memory(400)
	p.traffic(1000)
	return p
}

func (p *proc) write(name, text string) {
	p.Helper()
	path := filepath.Join(p.dir, name)
	p.must(os.MkdirAll(filepath.Dir(path), 0o755))
	p.must(os.WriteFile(path, []byte(text), 0o644))
}

// times are jiffies, of a hundredth of a second each.
func (p *proc) times(busy, idle int) {
	line := fmt.Sprintf("%d 0 0 %d 0 0 0 0 0 0", busy, idle)
	p.write("stat", "cpu  "+line+"\ncpu0 "+line+"\nbtime 1700000000\n")
}

func (p *proc) memory(available int) {
	p.write("meminfo", fmt.Sprintf("MemTotal: %d kB\nMemFree: 1024 kB\nMemAvailable: %d kB\n", 1000<<10, available<<10))
}

func (p *proc) traffic(bytes int) {
	p.write("1/net/dev", fmt.Sprintf("Inter-|   Receive |  Transmit\n face |bytes packets\n  eth0: %d 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n  veth1: 9999999 1 0 0 0 0 0 0 9999999 1 0 0 0 0 0 0\n", bytes, 2*bytes))
}

// pressures are the messages of the events about the pressure on nodes.
func (b *bench) pressures() []string {
	b.Helper()
	events, _, _, err := b.st.EventsAfter(b.Context(), "0-0", 1000)
	b.must(err)
	var told []string
	for _, e := range events {
		if e.Type == ide.TypeNodePressure {
			told = append(told, e.Message)
		}
	}
	return told
}

func (b *bench) use() ide.NodeUse {
	b.Helper()
	u, ok, err := b.st.Use(b.Context(), b.engine.NodeID())
	b.must(err)
	if !ok {
		b.Fatal("nothing was reported")
	}
	return u
}

func TestMeterMeasuresItsNode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := newProc(b)
	w := b.worker(Config{HostProc: p.dir, HighWater: ide.HighWater{CPU: 90, Memory: 90}})
	b.must(newMeter(w).Measure(t.Context())) // before the node is known there is nothing to say
	b.must(w.report(t.Context()))
	m := newMeter(w)
	b.must(m.Measure(t.Context()))
	p.times(300, 200)
	p.traffic(5000)
	m.machine.at = time.Now().Add(-10 * time.Second)
	b.must(m.Measure(t.Context()))
	u := b.use()
	if u.Cores != 2 || u.CPU != 1.5 || u.Load != [3]float64{1.5, 0.75, 0.25} || u.Memory != 600<<20 || u.MemoryTotal != 1000<<20 || u.Storage != "overlay2" {
		t.Errorf("got %+v, want 1.5 of 2 cores and 600 of 1000 MiB", u)
	}
	if u.DiskTotal <= 0 || u.Disk <= 0 || u.Disk > u.DiskTotal {
		t.Errorf("disk: %d of %d", u.Disk, u.DiskTotal)
	}
	if math.Abs(u.NetIn-400) > 4 || math.Abs(u.NetOut-800) > 8 {
		t.Errorf("network: %v in, %v out; want 400 and 800 of eth0 alone", u.NetIn, u.NetOut)
	}
	if u.Stall == nil || *u.Stall != (ide.Stall{CPU: 12.5, Memory: 2}) || len(u.Above) != 0 {
		t.Errorf("stall %+v, above %v", u.Stall, u.Above)
	}
	past, err := b.st.NodePast(t.Context(), time.Now().Add(-time.Minute), time.Now(), measureEvery, b.engine.NodeID())
	b.must(err)
	if n := len(past[0]); n == 0 || past[0][n-1].Memory != 60 || past[0][n-1].CPU != 75 {
		t.Errorf("history: %+v", past)
	}

	p.memory(50) // 95 %
	b.must(m.Measure(t.Context()))
	if u = b.use(); len(u.Above) != 1 || u.Above[0].Resource != ide.ResourceMemory || u.Above[0].Percent != 95 {
		t.Errorf("above: %+v", u.Above)
	}
	since := u.Above[0].Since
	m = newMeter(w) // another worker goes on
	b.must(m.Measure(t.Context()))
	if u = b.use(); len(u.Above) != 1 || !u.Above[0].Since.Equal(since) {
		t.Errorf("above: %+v, want since %v", u.Above, since)
	}
	if told := b.pressures(); len(told) != 1 || !strings.Contains(told[0], "Node node-1 is short of memory: memory is at 95 %, above its mark of 90 % (HIGH_WATER_MEMORY).") {
		t.Errorf("told: %q", told)
	}
	p.memory(200)
	b.must(m.Measure(t.Context()))
	if u = b.use(); len(u.Above) != 0 || len(u.Pressure) != 1 {
		t.Errorf("above %v, pressure %v, want the latter for a minute", u.Above, u.Pressure)
	}
	m.high[ide.ResourceMemory] = time.Now().Add(-relief)
	b.must(m.Measure(t.Context()))
	if told := b.pressures(); len(told) != 2 || !strings.Contains(told[1], "below its high-water marks again") {
		t.Errorf("told: %q", told)
	}
}

func TestMeterMeasuresContainers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.worker(Config{HostProc: newProc(b).dir})
	b.must(w.report(t.Context()))
	c := ide.Container{ID: ide.NewID(), Run: 3, Status: ide.Running, Node: b.engine.NodeID(), Image: "ide",
		Resources: ide.Resources{CPULimit: 5e8, MemoryLimit: 64 << 20, CPUReservation: 1e7, MemoryReservation: 8 << 20}}
	secret, err := b.deps.Swarm.PutSecret(t.Context(), c.ID, c.Run, []byte("{}"))
	b.must(err)
	b.must(b.deps.Swarm.CreateService(t.Context(), c, secret))
	_, err = b.deps.Swarm.WaitRunning(t.Context(), c, nil)
	b.must(err)
	m := newMeter(w)
	b.must(m.Measure(t.Context())) // the first reading
	if uses, err := b.st.ContainerUses(t.Context(), c); err != nil || len(uses) != 0 {
		t.Errorf("after one reading: %v, %v", uses, err)
	}
	b.engine.SetUse(c.ServiceName(), swarmtest.Use{Cores: 0.25, Memory: 16 << 20, Traffic: 1e6})
	b.must(m.Measure(t.Context())) // of which the counters have jumped, as the fake's are of all its life
	b.must(m.Measure(t.Context()))
	uses, err := b.st.ContainerUses(t.Context(), c)
	b.must(err)
	u := uses[c.ID]
	if math.Abs(u.CPU-50) > 1 || math.Abs(u.Cores-0.25) > 0.005 || u.Memory != 16<<20 || u.Percent != 25 || u.PIDs != 2 || u.Restarts != 0 || u.Run != 3 {
		t.Errorf("got %+v, want 50 %% of half a core and a quarter of 64 MiB", u)
	}
	for _, rate := range []float64{u.NetIn, u.NetOut, u.BlockRead, u.BlockWrite} {
		if math.Abs(rate-1e6) > 1e5 {
			t.Errorf("a rate is %v, want 1e6: %+v", rate, u)
		}
	}
	if n := b.use(); n.Containers != 1 || len(n.Busiest) != 1 || n.Busiest[0].Container != c.ID {
		t.Errorf("the node tells of %+v", n)
	}
	b.must(b.deps.Swarm.RemoveService(t.Context(), c.ID, c.Run))
	b.must(b.deps.Swarm.WaitGone(t.Context(), c.ID, c.Run))
	b.must(m.Measure(t.Context()))
	if uses, err := b.st.ContainerUses(t.Context(), c); err != nil || len(uses) != 0 || b.use().Containers != 0 {
		t.Errorf("after its end: %v, %v", uses, err)
	}
}

func TestPinnedContainerIsToldOfOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.worker(Config{PinnedAfter: time.Hour})
	b.must(w.report(t.Context()))
	rec := b.create().Container
	m := newMeter(w)
	one := &measurement{container: rec.ID, run: rec.Run, cpu: 2}
	told := func() (n int) {
		events, err := b.st.History(t.Context(), rec.ID)
		b.must(err)
		for _, e := range events {
			if e.Type == "container.pinned" {
				n++
			}
		}
		return n
	}
	minute := time.Now().Truncate(time.Minute)
	pass := func(minutes int, cpu float64) {
		for range minutes {
			b.must(m.pinned(t.Context(), one, ide.Sample{At: minute, CPU: cpu}))
			minute = minute.Add(time.Minute)
		}
	}
	pass(59, 100)
	pass(1, 40) // a break
	pass(59, 99)
	if n := told(); n != 0 || one.use.Pinned == nil {
		t.Errorf("told %d times after 59 minutes, pinned since %v", n, one.use.Pinned)
	}
	pass(61, 100)
	if n := told(); n != 1 {
		t.Errorf("told %d times after two hours, want once", n)
	}
	w.cfg.PinnedAfter, one.use = 0, ide.ContainerUse{}
	pass(120, 100)
	if n := told(); n != 1 {
		t.Errorf("told %d times where nobody wants to be, want not again", n)
	}
}

// A setting below a minute counts samples.
func TestPinnedForSeconds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.worker(Config{PinnedAfter: 20 * time.Second})
	b.must(w.report(t.Context()))
	rec := b.create().Container
	c := b.printing() // what runs
	m := newMeter(w)
	told := func() (n int) {
		events, err := b.st.History(t.Context(), rec.ID)
		b.must(err)
		for _, e := range events {
			if e.Type == "container.pinned" {
				n++
			}
		}
		return n
	}
	one := &measurement{container: rec.ID, run: rec.Run, cpu: 0.5, past: newHistory(rec.ID)}
	list, err := b.deps.Swarm.LocalContainers(t.Context())
	b.must(err)
	b.engine.SetUse(c.ServiceName(), swarmtest.Use{Cores: 1e6})
	begin := time.Now().Add(-time.Minute)
	for i, want := range []int{0, 0, 1, 1} {
		if i > 0 { // as if it had been read then
			one.last.At, one.last.CPU = begin.Add(time.Duration(i)*measureEvery), 0
		}
		_, err := m.one(t.Context(), list[0].EngineID, one, 0)
		b.must(err)
		if n := told(); n != want {
			t.Errorf("after %d samples: told %d times, want %d; %+v", i, n, want, one.use)
		}
	}
}

func TestMeans(t *testing.T) {
	t.Parallel()
	h := newHistory("x")
	begin := time.Unix(0, 0).UTC()
	var minutes, quarters int
	for i := range 6 * 31 {
		h.known = i > 2 // Redis has taken none before
		past, minute := h.add(ide.Sample{At: begin.Add(time.Duration(i) * 10 * time.Second), CPU: float64(i % 6), Memory: 50})
		if past[0].First != (i <= 2) {
			t.Errorf("sample %d is the first: %t", i, past[0].First)
		}
		if minute != nil {
			minutes++
			if minute.CPU != 2.5 || minute.Memory != 50 || !minute.At.Equal(begin.Add(time.Duration(minutes-1)*time.Minute)) {
				t.Errorf("minute %d: %+v", minutes, minute)
			}
		}
		for _, p := range past {
			if p.Step == 15*time.Minute {
				quarters++
			}
		}
	}
	if minutes != 30 || quarters != 2 {
		t.Errorf("%d minutes and %d quarters ended, want 30 and 2", minutes, quarters)
	}
}

// A load of the CPU counts when it has lasted for five minutes: a compile does not
// keep others from starting.
func TestACompileIsNoLastingLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := newMeter(b.worker(Config{}))
	marks := ide.HighWater{CPU: 90}
	above := func(percent float64) []ide.Mark {
		return marks.Above(ide.NodeUse{At: time.Now(), Cores: 2}, m.machine.recently(percent), nil)
	}
	perMinute := int(time.Minute / measureEvery)
	for i := range 5*perMinute - 1 {
		if got := above(100); len(got) != 0 {
			t.Fatalf("after %d readings it is above: %v", i+1, got)
		}
	}
	if got := above(100); len(got) != 1 || !strings.Contains(got[0].String(), "HIGH_WATER_CPU") {
		t.Fatalf("after five minutes: %v, want it above, and the setting named", got)
	}
	for range perMinute {
		above(10)
	}
	if got := above(10); len(got) != 0 {
		t.Errorf("a minute after its end: %v", got)
	}
}
