package worker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/shirou/gopsutil/v3/common"
	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/net"
)

// machine reads the counters of the machine that this worker is on.
type machine struct {
	proc string // the machine's own /proc

	at        time.Time // of the reading before
	busy, all float64   // seconds of CPU
	in, out   uint64    // bytes
	recent    []float64 // the last readings of CPU, in percent
	reads     int       // how many are looked at together
}

// read measures. CPU and network are means since the reading before, and zero
// at the first.
func (m *machine) read(ctx context.Context, dataRoot string) (u ide.NodeUse, err error) {
	ctx = context.WithValue(ctx, common.EnvKey, common.EnvMap{common.HostProcEnvKey: m.proc})
	now := time.Now().UTC()
	u.At = now
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil || len(times) == 0 {
		return u, fmt.Errorf("read CPU times: %w", err)
	}
	t := times[0]
	idle := t.Idle + t.Iowait
	busy := t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal
	cores, err := cpu.CountsWithContext(ctx, true)
	if err != nil {
		return u, fmt.Errorf("count cores: %w", err)
	}
	u.Cores = float64(cores)
	if span := busy + idle - m.all; m.all > 0 && span > 0 {
		u.CPU = u.Cores * min(max((busy-m.busy)/span, 0), 1)
	}
	averages, err := load.AvgWithContext(ctx)
	if err != nil {
		return u, fmt.Errorf("read load: %w", err)
	}
	u.Load = [3]float64{averages.Load1, averages.Load5, averages.Load15}
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return u, fmt.Errorf("read memory: %w", err)
	}
	u.Memory, u.MemoryTotal = int64(memory.Total-memory.Available), int64(memory.Total)
	room, err := disk.UsageWithContext(ctx, fileSystem(dataRoot))
	if err != nil {
		return u, fmt.Errorf("read disk: %w", err)
	}
	u.Disk, u.DiskTotal = int64(room.Used), int64(room.Used+room.Free)
	in, out, err := m.network(ctx)
	if err != nil {
		return u, fmt.Errorf("read network: %w", err)
	}
	if span := now.Sub(m.at).Seconds(); !m.at.IsZero() && span > 0 && in >= m.in && out >= m.out {
		u.NetIn, u.NetOut = float64(in-m.in)/span, float64(out-m.out)/span
	}
	u.Stall = m.stall()
	m.at, m.busy, m.all, m.in, m.out = now, busy, busy+idle, in, out
	return u, nil
}

// fileSystem is a path on the file system of the engine's data directory. In a
// container the directory is not to be seen, but the container's own root is on
// the same file system.
func fileSystem(dataRoot string) string {
	if _, err := os.Stat(dataRoot); dataRoot != "" && err == nil {
		return dataRoot
	}
	return "/"
}

// network sums the bytes of the machine's own devices. Those of its first
// process are the machine's also where this one has a network of its own.
func (m *machine) network(ctx context.Context) (in, out uint64, err error) {
	devices, err := net.IOCountersByFileWithContext(ctx, true, filepath.Join(m.proc, "1/net/dev"))
	if err != nil {
		return 0, 0, err
	}
	for _, d := range devices {
		if !virtual(d.Name) {
			in += d.BytesRecv
			out += d.BytesSent
		}
	}
	return in, out, nil
}

// virtual says whether a device only passes on what another one counts.
func virtual(device string) bool {
	for _, prefix := range []string{"lo", "veth", "docker", "br-", "vx-", "vxlan", "virbr", "cni", "flannel", "tap", "tun"} {
		if strings.HasPrefix(device, prefix) {
			return true
		}
	}
	return false
}

// stall reads the kernel's pressure stall information; nil where there is none.
func (m *machine) stall() *ide.Stall {
	var s ide.Stall
	for name, to := range map[string]*float64{"cpu": &s.CPU, "memory": &s.Memory, "io": &s.IO} {
		v, ok := someAvg10(filepath.Join(m.proc, "pressure", name))
		if !ok {
			return nil
		}
		*to = v
	}
	return &s
}

// someAvg10 reads the first line of a file of PSI: "some avg10=0.12 avg60=…".
func someAvg10(path string) (v float64, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n') // where PSI is off the file is there and cannot be read
	if err != nil {
		return 0, false
	}
	_, err = fmt.Sscanf(line, "some avg10=%f", &v)
	return v, err == nil
}

// recently adds a reading of CPU and returns the mean of the last ones; 0 while there
// are not enough: a compile of a minute is no lasting load.
func (m *machine) recently(percent float64) float64 {
	m.recent = append(m.recent, percent)
	missing := max(m.reads, 1) - len(m.recent)
	if missing > 0 {
		return 0
	}
	m.recent = m.recent[-missing:]
	sum := 0.0
	for _, v := range m.recent {
		sum += v
	}
	return sum / float64(len(m.recent))
}
