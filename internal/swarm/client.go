// Package swarm is the Docker Engine adapter: containers as Swarm services,
// their records as Swarm configs, nodes, the shared overlay and the isolation
// filter on it. It is the only importer of Docker's types.
//
// The API used is that of Engine 20.10 (version 1.41) to today's; the version
// is negotiated. Errors are *ide.Error, classified here and nowhere else; the
// engine's own words stay in Err.
package swarm

import (
	"context"
	"regexp"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Routing says who routes users to containers.
const (
	RoutingGateway = "gateway" // Berth's own gateway
	RoutingLabels  = "labels"  // Traefik, by labels on each service
)

// Config of a Client.
type Config struct {
	Host         string        // address of the engine (DOCKER_HOST); empty is the default socket
	Instance     string        // everything made carries it as label berth.instance
	Network      string        // name of the shared overlay; empty is "ide-network"
	Subnet       string        // its subnet, "10.64.0.0/16"; empty leaves the choice to the engine's pools
	Encrypted    bool          // IPsec between nodes for the overlay, when EnsureNetwork makes it
	Routing      string        // RoutingGateway or RoutingLabels; empty is the gateway
	TraefikV2    bool          // Traefik 2 names of labels
	EntryPoint   string        // Traefik's entry point of containers' routers
	CertResolver string        // Traefik's certificate resolver of containers' routers
	StopGrace    time.Duration // from SIGTERM to SIGKILL when a service goes down; 0 is 30 s
	ExecRoot     string        // the engine's exec root, for the filter; empty is /var/run/docker
	Tolerance    time.Duration // how long reads may fail before a wait for a container does; 0 is 3 s
	Guarded      bool          // agents wait until their node's worker finds the filter standing

	Traces trace.TracerProvider // of calls to the engine; nil is none
}

// instanceForm is what Swarm allows in the name of a config (letters, digits,
// "-", "_", "."; 64 characters in all) less "berth-", "-" and an ID.
var instanceForm = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,38}[a-zA-Z0-9])?$`)

func (c Config) withDefaults() (Config, error) {
	if !instanceForm.MatchString(c.Instance) {
		return c, ide.Errorf(ide.ValidationFailed,
			"The instance name must have 1 to 40 letters, digits, dots, dashes or underscores.")
	}
	if c.Network == "" {
		c.Network = "ide-network"
	}
	if c.Routing == "" {
		c.Routing = RoutingGateway
	}
	if c.Routing != RoutingGateway && c.Routing != RoutingLabels {
		return c, ide.Errorf(ide.ValidationFailed, "The routing must be %q or %q.", RoutingGateway, RoutingLabels)
	}
	if c.StopGrace == 0 {
		c.StopGrace = 30 * time.Second
	}
	if c.Tolerance == 0 {
		c.Tolerance = readTolerance
	}
	if c.ExecRoot == "" {
		c.ExecRoot = "/var/run/docker"
	}
	return c, nil
}

// Client speaks to one engine. Writes and reads of the Swarm need a manager's;
// Info, NetworkID, Events, LocalContainers, FollowLogs, Stats and Limits also
// work on a worker's. It is safe for concurrent use.
type Client struct {
	cfg    Config
	docker *client.Client
}

// New returns a client. It does not connect: an engine that is down shows in
// the first call. The environment is not read.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	host := cfg.Host
	if host == "" {
		host = client.DefaultDockerHost
	}
	traces := cfg.Traces
	if traces == nil {
		traces = noop.NewTracerProvider()
	}
	d, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation(), client.WithTraceProvider(traces))
	if err != nil {
		return nil, &ide.Error{Code: ide.Docker, Message: "The engine's address is not valid.", Err: err, Permanent: true}
	}
	return &Client{cfg: cfg, docker: d}, nil
}

// Close closes idle connections.
func (c *Client) Close() error { return c.docker.Close() }

// Info is what an engine says of itself. CPU is in nano-CPUs, memory in bytes.
type Info struct {
	NodeID      string // its ID in the Swarm; empty outside of one
	Hostname    string
	Engine      string // version
	API         string // negotiated version
	Manager     bool
	SwarmActive bool
	CPU         int64
	Memory      int64
	Storage     string // its storage driver
	DataRoot    string // its data directory
}

// Info asks the engine for its place in the Swarm and its size (GET /info).
func (c *Client) Info(ctx context.Context) (Info, error) {
	i, err := c.docker.Info(ctx)
	if err != nil {
		return Info{}, classify("read engine info", err)
	}
	return makeInfo(i, c.docker.ClientVersion()), nil
}

func makeInfo(i system.Info, api string) Info {
	return Info{
		NodeID:      i.Swarm.NodeID,
		Hostname:    i.Name,
		Engine:      i.ServerVersion,
		API:         api,
		Manager:     i.Swarm.ControlAvailable,
		SwarmActive: i.Swarm.LocalNodeState == swarm.LocalNodeStateActive,
		CPU:         int64(i.NCPU) * 1e9,
		Memory:      i.MemTotal,
		Storage:     i.Driver,
		DataRoot:    i.DockerRootDir,
	}
}

// ours is the filter for what this instance made.
func (c *Client) ours() filters.Args {
	return filters.NewArgs(filters.Arg("label", LabelInstance+"="+c.cfg.Instance))
}

// carries says whether an object is a container's by its labels. Its name alone
// decides nothing: anybody may have given it.
func (c *Client) carries(labels map[string]string, id string) bool {
	return labels[LabelInstance] == c.cfg.Instance && labels[LabelID] == id
}
