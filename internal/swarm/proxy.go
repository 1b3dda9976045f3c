package swarm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
)

// mostBody is the largest request that the proxy takes: Swarm's own limit for a
// secret or a config is 500 KB and 1 MB.
const mostBody = 4 << 20

// Proxy stands between workers and the engine's socket. It lets through the
// requests of Calls alone, and of services only such as Spec makes: a worker
// that somebody has taken over cannot reach into the machine by a mount, a
// capability or the host's network. What it cannot tell is whose service,
// secret or volume an ID names.
type Proxy struct {
	network string
	engine  *client.Client // asked for the network's ID, by which the engine calls it afterwards
	forward *httputil.ReverseProxy
	log     *slog.Logger
}

// NewProxy returns a Proxy to the engine at host (as DOCKER_HOST has it; empty
// is the default socket) for containers on that network.
func NewProxy(host, network string, log *slog.Logger) (*Proxy, error) {
	if host == "" {
		host = client.DefaultDockerHost
	}
	u, err := client.ParseHostURL(host)
	if err != nil || u.Scheme != "unix" && u.Scheme != "tcp" {
		return nil, fmt.Errorf("the engine's address %q is not unix:///… or tcp://…", host)
	}
	kind, address := u.Scheme, u.Host
	if kind == "unix" {
		address = u.Host + u.Path
	}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	forward.FlushInterval = -1 // events and logs are streams
	forward.Transport = &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, kind, address)
	}}
	forward.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() == nil {
			log.Warn("engine does not answer", "err", err)
		}
		w.WriteHeader(http.StatusBadGateway)
	}
	forward.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	engine, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("the engine's address: %w", err)
	}
	return &Proxy{network: network, engine: engine, forward: forward, log: log}, nil
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := p.admit(w, r); err != nil {
		p.log.Warn("request is refused", "method", r.Method, "path", r.URL.Path, "err", err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		json.NewEncoder(w).Encode(map[string]string{"message": "berth socket-proxy: " + err.Error()})
		return
	}
	p.forward.ServeHTTP(w, r)
}

// admit says why a request is refused. What is judged of a body is what is sent
// on.
func (p *Proxy) admit(w http.ResponseWriter, r *http.Request) error {
	call, ok := Made(r.Method, r.URL.EscapedPath())
	if !ok {
		return fmt.Errorf("%s %s is no request of Berth's", r.Method, r.URL.Path)
	}
	if r.Header.Get("Upgrade") != "" {
		return errors.New("no connection is handed over")
	}
	if call.Path == "/images/load" {
		return nil // a tar stream
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	switch {
	case call.Path == "/images/create" && (r.URL.Query().Has("fromSrc") || r.URL.Query().Get("fromImage") == ""):
		return errors.New("an image comes from its registry")
	case call.Path == "/containers/*" && r.URL.RawQuery != "":
		return errors.New("a container is removed when it has ended, and nothing else with it")
	case strings.HasPrefix(call.Path, "/services/") && call.Method == http.MethodPost:
		return rewrite(r, func(s swarm.ServiceSpec) error { return p.checkService(r.Context(), s) })
	case call.Path == "/networks/create":
		return rewrite(r, checkNetwork)
	}
	return nil
}

// rewrite decodes a body, checks it and sends on what was understood of it.
func rewrite[T any](r *http.Request, check func(T) error) error {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return errors.New("the body cannot be read")
	}
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return errors.New("the body is no JSON of that kind")
	}
	if err := check(v); err != nil {
		return err
	}
	if text, err = json.Marshal(v); err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	r.TransferEncoding = nil
	return nil
}

// checkService refuses what Spec never sets and what would reach beyond the
// container.
func (p *Proxy) checkService(ctx context.Context, s swarm.ServiceSpec) error {
	t := s.TaskTemplate
	c := t.ContainerSpec
	switch {
	case c == nil || t.PluginSpec != nil || t.NetworkAttachmentSpec != nil:
		return errors.New("a service has to be one of containers")
	case s.Labels[LabelInstance] == "":
		return errors.New("a service has to carry the label " + LabelInstance)
	case s.Labels[LabelEdge] != "":
		return errors.New("a container cannot be an edge")
	case !slices.Contains(c.CapabilityDrop, "ALL") || slices.ContainsFunc(c.CapabilityAdd, func(name string) bool { return !ide.Grantable(name) }):
		return errors.New("capabilities have to be dropped, but for the harmless")
	case c.Privileges != nil && !sameJSON(c.Privileges, swarm.Privileges{NoNewPrivileges: c.Privileges.NoNewPrivileges}):
		return errors.New("privileges cannot be given")
	case c.User == "" || strings.HasPrefix(c.User+":", "0:") || strings.HasPrefix(c.User+":", "root:"):
		return errors.New("a container has to run as somebody else than root")
	case len(c.Sysctls) > 0 || len(c.Hosts) > 0 || len(t.Networks) != 1 || !p.isNetwork(ctx, t.Networks[0].Target) || len(s.Networks) > 0:
		return errors.New("a container is on " + p.network + " alone, with nothing of its own set there")
	case t.Runtime != "" && t.Runtime != swarm.RuntimeContainer || s.Mode.Global != nil || s.Mode.GlobalJob != nil:
		return errors.New("a container is one task")
	case s.EndpointSpec != nil && len(s.EndpointSpec.Ports) > 0:
		return errors.New("a container publishes no port")
	}
	for _, m := range c.Mounts {
		if m.Type == mount.TypeTmpfs {
			continue
		}
		if m.Type != mount.TypeVolume || !part.MatchString(m.Source) || m.VolumeOptions != nil && m.VolumeOptions.DriverConfig != nil {
			return errors.New("nothing of the host's can be mounted")
		}
	}
	return nil
}

// isNetwork says whether a name or an ID is the containers' network's.
func (p *Proxy) isNetwork(ctx context.Context, target string) bool {
	if target == p.network {
		return true
	}
	n, err := p.engine.NetworkInspect(ctx, p.network, network.InspectOptions{})
	return err == nil && n.ID == target && n.Name == p.network
}

func checkNetwork(r network.CreateRequest) error {
	if r.Driver != "overlay" || r.ConfigFrom != nil || r.Ingress {
		return errors.New("a network has to be an overlay")
	}
	return nil
}

func sameJSON(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}
