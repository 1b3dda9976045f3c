package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/internal/ide"
)

// lookTime is how long one target is tried.
const lookTime = 2 * time.Second

// lookOut looks at what can be reached from here, for berth doctor isolation:
// two containers that live for this alone run it in place of the agent.
func lookOut(args []string, out io.Writer) int {
	if len(args) == 1 && args[0] == ide.LookListen {
		return lookListen()
	}
	looks := make([]ide.Look, len(args))
	var all sync.WaitGroup
	for i, target := range args {
		all.Go(func() {
			err := look(target)
			looks[i] = ide.Look{Target: target, Reached: err == nil}
			if err != nil {
				looks[i].Said = err.Error()
			}
		})
	}
	all.Wait()
	lines := json.NewEncoder(out)
	for _, l := range looks {
		lines.Encode(l)
	}
	lines.Encode(confinement())
	return 0
}

// lookListen is the other one of the two: it ends by itself when nobody comes
// to end it.
func lookListen() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, ide.LookListening*time.Second)
	defer cancel()
	l, err := listen(ctx, "", ide.AgentPort)
	if err != nil {
		return 1
	}
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		c, err := l.Accept()
		if err != nil {
			return 0
		}
		c.Close()
	}
}

// look says why a target cannot be reached. A host that answers that nobody
// listens there is reached.
func look(target string) error {
	if strings.HasPrefix(target, "/") {
		_, err := os.Stat(target)
		return err
	}
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	if host == "uplink" {
		gateway, err := defaultGateway("/proc/net/route")
		if err != nil {
			return err
		}
		host = gateway.String()
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err == nil {
		c.Close()
		return nil
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return err
}

// defaultGateway reads the kernel's routes (proc(5), /proc/net/route): the
// gateway of the one without destination.
func defaultGateway(file string) (netip.Addr, error) {
	f, err := os.Open(file)
	if err != nil {
		return netip.Addr{}, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[1] != "00000000" || fields[7] != "00000000" {
			continue
		}
		raw, err := hex.DecodeString(fields[2])
		if err != nil || len(raw) != 4 {
			continue
		}
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], binary.BigEndian.Uint32(raw))
		return netip.AddrFrom4(b), nil
	}
	return netip.Addr{}, errors.New("there is no default route")
}

// confinement reads what this process may (proc(5), /proc/PID/status).
func confinement() ide.Confinement {
	c := ide.Confinement{UID: os.Getuid()}
	text, _ := os.ReadFile("/proc/self/status") // what cannot be read stays as bad as it can be
	var caps uint64
	for line := range strings.SplitSeq(string(text), "\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
			n, _ := strconv.ParseUint(value, 16, 64)
			caps |= n
		case "NoNewPrivs":
			c.NoNew = value == "1"
		case "Seccomp":
			c.Seccomp, _ = strconv.Atoi(value)
		}
	}
	c.Capabilities = strconv.FormatUint(caps, 16)
	c.PIDs = firstFile("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max")
	c.Memory = firstFile("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
	c.Mounts = hostMounts("/proc/self/mountinfo")
	c.Writable = rootWritable("/proc/self/mountinfo")
	return c
}

func firstFile(names ...string) string {
	for _, n := range names {
		if text, err := os.ReadFile(n); err == nil {
			return strings.TrimSpace(string(text))
		}
	}
	return ""
}

// everybody has these: the engine makes them for each container.
var everybody = []string{"/", "/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/secrets", "/sbin/docker-init", ide.HomeDir}

// hostMounts lists what else is mounted and lies on a disk or is a socket.
func hostMounts(file string) (list []string) {
	for _, m := range mounts(file) {
		at, kind := m[0], m[1]
		ordinary := kind == "tmpfs" || kind == "proc" || kind == "sysfs" || kind == "cgroup" || kind == "cgroup2" || kind == "devpts" || kind == "mqueue"
		for _, e := range everybody {
			ordinary = ordinary || at == e || e != "/" && strings.HasPrefix(at, e+"/")
		}
		if !ordinary || strings.HasSuffix(at, ".sock") {
			list = append(list, at)
		}
	}
	return list
}

func rootWritable(file string) bool {
	for _, m := range mounts(file) {
		if m[0] == "/" {
			return !strings.HasPrefix(m[2]+",", "ro,")
		}
	}
	return true
}

// mounts are place, kind and options of each (proc(5), /proc/PID/mountinfo).
func mounts(file string) (list [][3]string) {
	text, _ := os.ReadFile(file)
	for line := range strings.SplitSeq(string(text), "\n") {
		before, after, ok := strings.Cut(line, " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if ok && len(b) > 5 && len(a) > 0 {
			list = append(list, [3]string{b[4], a[0], b[5]})
		}
	}
	return list
}
