package swarm_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/ide"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"

	"github.com/docker/docker/api/types/mount"
	engine "github.com/docker/docker/api/types/swarm"
)

// socketProxy serves a proxy on a socket, and returns its address.
func socketProxy(t *testing.T, host, network string) string {
	t.Helper()
	p, err := swarm.NewProxy(host, network, slog.New(slog.DiscardHandler))
	must(t, err)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	must(t, err)
	srv := &http.Server{Handler: p}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return "unix://" + path
}

// through opens the suite's clients behind a proxy.
func through(t *testing.T, env swarmtest.Env) (*swarm.Client, swarmtest.Env) {
	t.Helper()
	cfg := env.Config
	cfg.Host = socketProxy(t, env.Config.Host, env.Config.Network)
	c, err := swarm.New(cfg)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c, env // others, whom the suite plays as well, have the engine itself
}

// TestExerciseThroughTheProxyReal runs all that the adapter can do through the
// proxy, on a real engine.
func TestExerciseThroughTheProxyReal(t *testing.T) {
	t.Parallel()
	l, _ := realLab(t)
	swarmtest.Exercise(t, func(t *testing.T) (*swarm.Client, swarmtest.Env) {
		_, env := realClient(t, l)
		return through(t, env)
	})
}

// TestProxyRefusesReal: what would be root on the node is refused, and reaches
// no engine.
func TestProxyRefusesReal(t *testing.T) {
	t.Parallel()
	l, _ := realLab(t)
	_, env := realClient(t, l)
	host := socketProxy(t, env.Config.Host, env.Config.Network)
	refused(t, host, "POST", "/v1.41/containers/create", `{"Image":"`+env.Image+`","HostConfig":{"Binds":["/:/host"]}}`)
	refused(t, host, "POST", "/v1.41/swarm/leave", "")
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	host := socketProxy(t, s.Host(), "ide-network")
	for _, request := range []string{"POST /v1.41/containers/create", "POST /v1.41/build", "GET /v1.41/containers/x/archive", "GET /v1.41/images/%2e%2e/json", "POST /v1.41/containers/x/exec", "POST /v1.41/images/create?fromSrc=-", "POST /v1.41/images/create?fromImage=a&fromSrc=-"} {
		method, path, _ := strings.Cut(request, " ")
		refused(t, host, method, path, "{}")
	}
	rec := newContainer("agent:1")
	rec.Hardening = ide.Hardening{ReadOnly: true, Tmpfs: []string{"/tmp"}, Capabilities: []string{"CHOWN"}}
	good := func() engine.ServiceSpec {
		return swarm.Spec(swarm.Config{Instance: "test", Network: "ide-network"}, rec, "secret")
	}
	for name, change := range map[string]func(*engine.ServiceSpec){
		"a mount of the host's": func(s *engine.ServiceSpec) {
			s.TaskTemplate.ContainerSpec.Mounts = append(s.TaskTemplate.ContainerSpec.Mounts, mount.Mount{Type: mount.TypeBind, Source: "/", Target: "/host"})
		},
		"a volume that is a mount": func(s *engine.ServiceSpec) {
			s.TaskTemplate.ContainerSpec.Mounts[0].VolumeOptions.DriverConfig = &mount.Driver{Name: "local", Options: map[string]string{"o": "bind", "device": "/", "type": "none"}}
		},
		"a path for a volume": func(s *engine.ServiceSpec) { s.TaskTemplate.ContainerSpec.Mounts[0].Source = "/etc" },
		"a capability":        func(s *engine.ServiceSpec) { s.TaskTemplate.ContainerSpec.CapabilityAdd = []string{"SYS_ADMIN"} },
		"raw packets":         func(s *engine.ServiceSpec) { s.TaskTemplate.ContainerSpec.CapabilityAdd = []string{"CAP_NET_RAW"} },
		"all capabilities":    func(s *engine.ServiceSpec) { s.TaskTemplate.ContainerSpec.CapabilityDrop = nil },
		"no seccomp": func(s *engine.ServiceSpec) {
			s.TaskTemplate.ContainerSpec.Privileges = &engine.Privileges{Seccomp: &engine.SeccompOpts{Mode: engine.SeccompModeUnconfined}}
		},
		"root":               func(s *engine.ServiceSpec) { s.TaskTemplate.ContainerSpec.User = "0" },
		"root by name":       func(s *engine.ServiceSpec) { s.TaskTemplate.ContainerSpec.User = "root:1000" },
		"the image's user":   func(s *engine.ServiceSpec) { s.TaskTemplate.ContainerSpec.User = "" },
		"the host's network": func(s *engine.ServiceSpec) { s.TaskTemplate.Networks[0].Target = "host" },
		"a second network": func(s *engine.ServiceSpec) {
			s.TaskTemplate.Networks = append(s.TaskTemplate.Networks, engine.NetworkAttachmentConfig{Target: "berth-control"})
		},
		"a network of the old kind": func(s *engine.ServiceSpec) { s.Networks = []engine.NetworkAttachmentConfig{{Target: "host"}} },
		"an edge":                   func(s *engine.ServiceSpec) { s.Labels[swarm.LabelEdge] = "true" },
		"somebody else's service":   func(s *engine.ServiceSpec) { delete(s.Labels, swarm.LabelInstance) },
		"a published port":          func(s *engine.ServiceSpec) { s.EndpointSpec.Ports = []engine.PortConfig{{TargetPort: 1}} },
		"one on every node":         func(s *engine.ServiceSpec) { s.Mode = engine.ServiceMode{Global: &engine.GlobalService{}} },
		"a plugin":                  func(s *engine.ServiceSpec) { s.TaskTemplate.Runtime = engine.RuntimePlugin },
		"a system setting":          func(s *engine.ServiceSpec) { s.TaskTemplate.ContainerSpec.Sysctls = map[string]string{"a": "b"} },
	} {
		spec := good()
		change(&spec)
		text, err := json.Marshal(spec)
		must(t, err)
		t.Run(name, func(t *testing.T) {
			refused(t, host, "POST", "/v1.41/services/create", string(text))
			refused(t, host, "POST", "/v1.41/services/x/update?version=1", string(text))
		})
	}
	refused(t, host, "POST", "/v1.41/networks/create", `{"Name":"x","Driver":"macvlan"}`)
	refused(t, host, "DELETE", "/v1.41/containers/x?force=1", "")
	refused(t, host, "POST", "/v1.41/services/create", `{`)
	refused(t, host, "POST", "/v1.41/services/create", `{}`)
	if n := s.Requests("POST", ""); n != 0 {
		t.Errorf("%d of these reached the engine", n)
	}
	// What is like it in all but that comes through: the fake knows no such secret.
	text, err := json.Marshal(good())
	must(t, err)
	if status, _ := post(t, host, "POST", "/v1.41/services/create", string(text)); status == http.StatusForbidden || s.Requests("POST", "/services/create") != 1 {
		t.Errorf("a container's service: status %d", status)
	}
}

// TestProxySendsOnWhatItHasJudged: a field that this release does not know is
// not sent on, nor is a second one of the same name.
func TestProxySendsOnWhatItHasJudged(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got <- string(text)
	}))
	t.Cleanup(srv.Close)
	host := socketProxy(t, "tcp://"+srv.Listener.Addr().String(), "ide-network")
	text, err := json.Marshal(swarm.Spec(swarm.Config{Instance: "test", Network: "ide-network"}, newContainer("agent:1"), "secret"))
	must(t, err)
	text = bytes.Replace(text, []byte(`"User":"1000:1000"`), []byte(`"User":"0:0","user":"1000:1000","Gpus":"all"`), 1)
	if status, _ := post(t, host, "POST", "/v1.41/services/create", string(text)); status != http.StatusOK {
		t.Fatalf("got status %d", status)
	}
	if sent := <-got; strings.Contains(sent, `"0:0"`) || strings.Contains(sent, "Gpus") || !strings.Contains(sent, `"User":"1000:1000"`) {
		t.Errorf("sent on: %s", sent)
	}
}

func TestProxyWithoutAnEngine(t *testing.T) {
	t.Parallel()
	if status, _ := post(t, socketProxy(t, "unix:///nowhere", "n"), "GET", "/info", ""); status != http.StatusBadGateway {
		t.Errorf("got status %d", status)
	}
	if _, err := swarm.NewProxy("ssh://x", "n", nil); err == nil {
		t.Error("an engine over ssh was taken")
	}
}

func refused(t *testing.T, host, method, path, body string) {
	t.Helper()
	if status, text := post(t, host, method, path, body); status != http.StatusForbidden || !strings.Contains(text, "socket-proxy") {
		t.Errorf("%s %s %s: got %d %s, want it refused", method, path, body, status, text)
	}
}

func post(t *testing.T, host, method, path, body string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) {
		return net.Dial("unix", strings.TrimPrefix(host, "unix://"))
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://engine"+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, string(text)
}
