package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestReadFindsEveryNode(t *testing.T) {
	dir := t.TempDir()
	env := strings.Join([]string{
		`export LAB_NAME=x`, `export LAB_DIR=/lab`, `export LAB_SCRIPT=/bin/lab`, `export LAB_CLIENT_ADDR=10.201.1.250`,
		`export LAB_NODES="n1 n2"`,
		`export LAB_N1_SOCK=unix:///lab/n1/docker.sock`, `export LAB_N1_ADDR=10.201.1.11`,
		`export LAB_N1_NETNS=/run/netns/berth-x-n1`, `export LAB_N1_EXEC_ROOT=/lab/n1/exec`,
		`export LAB_N2_ADDR=10.201.1.12`,
	}, "\n")
	if err := os.WriteFile(filepath.Join(dir, "env"), []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := &Lab{Name: "x", Dir: "/lab", ClientAddr: "10.201.1.250", script: "/bin/lab", Nodes: []Node{
		{Name: "n1", Addr: "10.201.1.11", Sock: "unix:///lab/n1/docker.sock", NetNS: "/run/netns/berth-x-n1", ExecRoot: "/lab/n1/exec"},
		{Name: "n2", Addr: "10.201.1.12"},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Lab{}), cmpopts.IgnoreFields(Lab{}, "t")); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestReadRefusesWhatIsNoLab(t *testing.T) {
	dir := t.TempDir()
	if _, err := read(dir); err == nil {
		t.Error("no env file: got no error")
	}
	if err := os.WriteFile(filepath.Join(dir, "env"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(dir); err == nil {
		t.Error("empty env file: got no error")
	}
}

func TestEveryEngineAnswers(t *testing.T) {
	for _, n := range Open(t).Nodes {
		if err := ping(n); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
	}
}

func TestTheEdgeReachesTheClientAndNothingOutside(t *testing.T) {
	l := Open(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	ln, err := net.Listen("tcp", l.ClientAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") })}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })

	dial := func(addr string) (string, error) {
		host, port, _ := net.SplitHostPort(addr)
		script := `exec 3<>/dev/tcp/$1/$2 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && tail -n 1 <&3`
		out, err := l.EdgeCommand(ctx, l.Nodes[0].Name, "timeout", "60", "bash", "-c", script, "bash", host, port).CombinedOutput()
		return string(out), err
	}
	if got, err := dial(ln.Addr().String()); err != nil || got != "here" {
		t.Errorf("edge to client: got %q, %v", got, err)
	}
	// 192.0.2.0/24 is reserved for documentation.
	if got, err := dial("192.0.2.1:80"); err == nil || !strings.Contains(got, "unreachable") {
		t.Errorf("edge to an unknown address: got %q, %v; want unreachable", got, err)
	}
}

func TestACancelledEdgeCommandLeavesNothing(t *testing.T) {
	l := Open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := l.EdgeCommand(ctx, l.Nodes[0].Name, "sh", "-c", "sleep 300 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatal(err)
	}
	cancel()
	cmd.Wait()
	if !eventually(func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}) {
		t.Errorf("process %d outlived its command", child)
	}
}

func TestAnEngineComesBack(t *testing.T) {
	l := Open(t)
	l.Need(2)
	n := l.Nodes[len(l.Nodes)-1]
	for _, how := range []How{Politely, Kill, Power} {
		l.StopEngine(n.Name, how)
		if err := ping(n); err == nil {
			t.Errorf("stopped with %q: the engine still answers", how)
		}
		l.StartEngine(n.Name)
		if err := ping(n); err != nil {
			t.Errorf("started after %q: %v", how, err)
		}
	}
}

func TestACutNodeIsOutOfReachUntilHealed(t *testing.T) {
	l := Open(t)
	l.Need(2)
	n := l.Nodes[len(l.Nodes)-1]
	// Gossip of a worker's engine: open on every node of the Swarm.
	reach := func() bool {
		c, err := net.DialTimeout("tcp", n.Addr+":7946", time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if !eventually(reach) {
		t.Fatal("the node is out of reach before the cut")
	}
	l.Cut(n.Name)
	if reach() {
		t.Error("the node is in reach after the cut")
	}
	l.Heal(n.Name)
	if !eventually(reach) {
		t.Error("the node is out of reach after the heal")
	}
}

// ping asks the node's engine whether it is there.
func ping(n Node) error {
	client := http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(n.Sock, "unix://"))
		},
	}}
	resp, err := client.Get("http://engine/_ping")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if string(body) != "OK" {
		return fmt.Errorf("ping: %q", body)
	}
	return nil
}

// eventually repeats ok until it is, for two minutes in which the machine runs: one
// try counts as a second at most.
func eventually(ok func() bool) bool {
	for left := 2 * time.Minute; left > 0; {
		began := time.Now()
		if ok() {
			return true
		}
		time.Sleep(50 * time.Millisecond)
		left -= min(time.Since(began), time.Second)
	}
	return false
}
