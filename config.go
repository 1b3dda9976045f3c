package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"berth/functions"
	"berth/internal/gateway"
	"berth/internal/ide"
	"berth/internal/process"
	"berth/internal/s3"
	"berth/internal/seal"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/internal/templates"
	"berth/internal/traces"
	"berth/openapi"
	"berth/queue"
	"berth/worker"

	"github.com/caarlos0/env/v11"
	"github.com/docker/go-units"
)

// Config is everything an operator can set. It is the only reader of the
// environment. Every variable X can also be given as X_FILE, the path of a
// file that holds the value, as Docker mounts secrets.
type Config struct {
	// Addresses and names
	Listen          string        `env:"LISTEN" envDefault:":8080"`                   // address of the HTTP server
	Domain          string        `env:"DOMAIN" envDefault:"localhost:8080"`          // host name of the API, with its port if that is not the scheme's own
	ContainerDomain string        `env:"CONTAINER_DOMAIN"`                            // containers answer under it; DOMAIN if missing
	URLScheme       string        `env:"URL_SCHEME"`                                  // http or https; http for localhost, https else
	EdgeURL         string        `env:"EDGE_URL" envDefault:"http://127.0.0.1:8080"` // where workers find the gateway (or Traefik), to see whether URLs answer
	GatewayGrace    time.Duration `env:"GATEWAY_GRACE" envDefault:"10s"`              // how long WebSockets may take to end after SIGTERM: their clients are told to leave, one after the other; 0 cuts them at once

	// Log
	LogLevel          string `env:"LOG_LEVEL" envDefault:"info"`           // debug, info, warn or error
	LogLines          int    `env:"LOG_LINES" envDefault:"50000"`          // kept in Redis of all containers and of the control plane, 512 bytes each on average
	ContainerLogLines int    `env:"CONTAINER_LOG_LINES" envDefault:"2000"` // kept beside them of each container
	LogRate           int    `env:"LOG_RATE" envDefault:"500"`             // lines a second that one container may print, and five times as many at once; 0 is any number
	NodeID            string `env:"NODE_ID"`                               // engine ID of the node, for the log; workers learn it by themselves

	// Traces, by the names that OpenTelemetry gives its settings
	TracesTo      string            `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`                       // URL of an OpenTelemetry collector (OTLP over HTTP, http://host:4318); traces are off if missing
	TracesHeaders map[string]string `env:"OTEL_EXPORTER_OTLP_HEADERS" envKeyValSeparator:"="` // name=value of calls to it, by commas
	TracesService string            `env:"OTEL_SERVICE_NAME" envDefault:"berth"`              // that traces are found by
	TracesRatio   float64           `env:"OTEL_TRACES_SAMPLER_ARG" envDefault:"1"`            // share of requests that are traced, 0 to 1

	// Keys and limits
	APIKey     string   `env:"API_KEY"`                     // one admin key, at least 32 characters
	APIKeys    string   `env:"API_KEYS"`                    // name:role:key, by commas; roles are admin, client and viewer
	SecretKeys []string `env:"SECRET_KEY"`                  // at least 32 characters; the first seals, all open, by commas; a new one goes second, then first
	RateLimit  int      `env:"RATE_LIMIT" envDefault:"100"` // requests a minute of one key, or of one address without a key; 0 is any number
	Proxies    []string `env:"TRUSTED_PROXIES"`             // addresses and networks of proxies whose X-Forwarded headers are believed, by commas
	Origins    []string `env:"CORS_ORIGINS"`                // https://host of other sites whose pages may use the API with a key, by commas
	QueueWrite bool     `env:"QUEUE_ADMIN_WRITE"`           // admins may pause queues and change tasks at /dashboard/queues, not only look

	ReadTimeout time.Duration `env:"READ_TIMEOUT" envDefault:"10s"` // for the head of a request, and again for its body

	// Redis
	RedisURL     string        `env:"REDIS_URL"`                        // redis://, rediss://, redis-socket:// or redis-sentinel://host,host,host/db?master=name; berth up brings its own if missing
	DataDir      string        `env:"DATA_DIR" envDefault:"berth-data"` // of the Redis that berth up brings
	JobRetention time.Duration `env:"JOB_RETENTION" envDefault:"168h"`  // how long an ended job can be looked up

	// Engine and routing
	DockerHost   string `env:"DOCKER_HOST"`                                    // the engine of this node; its default socket if missing
	ExecRoot     string `env:"ENGINE_EXEC_ROOT" envDefault:"/var/run/docker"`  // the engine's --exec-root, for the isolation filter
	Instance     string `env:"INSTANCE" envDefault:"main"`                     // tells apart several Berths on one Swarm
	Network      string `env:"NETWORK" envDefault:"ide-network"`               // the containers' overlay network
	Subnet       string `env:"NETWORK_SUBNET" envDefault:"10.86.0.0/16"`       // its addresses, when Berth makes it
	Isolation    string `env:"ISOLATION" envDefault:"on"`                      // off lets containers reach each other
	Routing      string `env:"ROUTING" envDefault:"gateway"`                   // gateway, or labels for Traefik's Swarm provider
	TraefikV2    bool   `env:"TRAEFIK_V2"`                                     // the older names of Traefik's labels
	EntryPoint   string `env:"TRAEFIK_ENTRYPOINT" envDefault:"websecure"`      // of the routers in the labels
	CertResolver string `env:"TRAEFIK_CERT_RESOLVER" envDefault:"letsencrypt"` // of the routers in the labels; none leaves it to Traefik's own certificates

	// What containers reach
	Egress      string   `env:"EGRESS" envDefault:"refuse-private"`               // outside: refuse-private, or off to let them reach everything
	EgressAllow []string `env:"EGRESS_ALLOW"`                                     // networks that they reach although they are private, by commas
	HostNetNS   string   `env:"HOST_NETNS" envDefault:"/proc/1/ns/net"`           // the node's network namespace, for EGRESS; a container needs it mounted
	Encrypted   bool     `env:"NETWORK_ENCRYPTED"`                                // IPsec between nodes for NETWORK, when Berth makes it
	SocketProxy string   `env:"SOCKET_PROXY" envDefault:"/run/berth/engine.sock"` // where berth socket-proxy listens

	// The store of workspaces
	S3Endpoint     string        `env:"S3_ENDPOINT"`                      // URL of the store; empty is AWS; none keeps no workspaces, for trying out
	S3PathStyle    bool          `env:"S3_PATH_STYLE"`                    // https://host/bucket/key, as most stores but AWS want it
	S3CA           string        `env:"S3_CA"`                            // PEM certificates of the store's authority
	S3Encryption   string        `env:"S3_ENCRYPTION"`                    // AES256 or aws:kms; empty leaves it to the bucket
	S3KMSKey       string        `env:"S3_KMS_KEY"`                       // with aws:kms; empty is the store's default key
	S3RoleARN      string        `env:"S3_ROLE_ARN"`                      // role that workers assume for requests without credentials
	S3STS          string        `env:"S3_STS_ENDPOINT"`                  // of the Security Token Service; AWS's or S3_ENDPOINT if missing
	S3AccessKey    string        `env:"S3_ACCESS_KEY_ID"`                 // may assume the role; never given to a container
	S3SecretKey    string        `env:"S3_SECRET_ACCESS_KEY"`             // of that key
	S3Session      time.Duration `env:"S3_SESSION_TIME" envDefault:"1h"`  // of assumed roles
	S3SingleWriter bool          `env:"S3_SINGLE_WRITER"`                 // the store has no conditional writes, and nobody else ever saves below the same prefix
	S3Mirror       bool          `env:"S3_MIRROR" envDefault:"true"`      // keep plain files for other programs
	Generations    int           `env:"KEEP_GENERATIONS" envDefault:"10"` // saves that are kept at least, beside those of the last 7 days
	SaveInterval   time.Duration `env:"SAVE_INTERVAL" envDefault:"60s"`   // between two saves, at most
	SaveDeadline   time.Duration `env:"SAVE_DEADLINE" envDefault:"1h"`    // how long a stop tries to save before it leaves the files on their node

	// Containers
	Image             string        `env:"IMAGE" envDefault:"localhost/berth-ide:latest"` // what the template default runs
	TemplatesFile     string        `env:"TEMPLATES"`                                     // YAML file of templates; the built-in ones if missing
	ImageAllow        []string      `env:"IMAGE_ALLOW"`                                   // patterns of images a request may name, by commas
	AWSRegion         string        `env:"AWS_REGION" envDefault:"us-east-1"`             // of buckets, when a request names none
	CPULimit          float64       `env:"CPU_LIMIT" envDefault:"2"`                      // cores
	MemoryLimit       string        `env:"MEMORY_LIMIT" envDefault:"4g"`                  // bytes, with k, m or g
	CPUReservation    float64       `env:"CPU_RESERVATION" envDefault:"0.25"`             // what admission counts with
	MemoryReservation string        `env:"MEMORY_RESERVATION" envDefault:"512m"`          // likewise; bytes, with k, m or g
	MaxCPU            float64       `env:"MAX_CPU"`                                       // the most a request may ask for; 0 is any
	MaxMemory         string        `env:"MAX_MEMORY"`                                    // likewise; bytes, with k, m or g
	PIDs              int64         `env:"PIDS_LIMIT" envDefault:"2048"`                  // processes and threads in a container
	MaxPerKey         int           `env:"MAX_CONTAINERS_PER_KEY" envDefault:"50"`        // live containers of one key; 0 is any number
	Placement         string        `env:"PLACEMENT" envDefault:"spread"`                 // spread or pack
	StopGrace         time.Duration `env:"STOP_GRACE" envDefault:"120s"`                  // between SIGTERM and SIGKILL

	// What happens by itself
	WebhookAllow    []string      `env:"WEBHOOK_ALLOW"`                        // private networks that webhooks may be in, by commas; public addresses always may
	WebhooksPerKey  int           `env:"MAX_WEBHOOKS_PER_KEY" envDefault:"20"` // standing webhooks of one key
	ProbeInterval   time.Duration `env:"PROBE_INTERVAL" envDefault:"15s"`      // between two looks at each running container
	IdleTimeout     time.Duration `env:"IDLE_TIMEOUT" envDefault:"10m"`        // without use, after which a container is saved and stopped, when a request says nothing; 0 is never
	MaxIdleTimeout  time.Duration `env:"MAX_IDLE_TIMEOUT"`                     // the most a request may ask for, and then not for never; 0 is any
	IdleWarning     time.Duration `env:"IDLE_WARNING" envDefault:"2m"`         // between the warning and the stop
	MaxKeepalive    time.Duration `env:"MAX_KEEPALIVE" envDefault:"24h"`       // how far ahead keepalive may put off a stop
	MaxLifetime     time.Duration `env:"MAX_LIFETIME"`                         // of a run, whatever is done in it; 0 is any
	RecordRetention time.Duration `env:"RECORD_RETENTION" envDefault:"720h"`   // of stopped and failed containers; those with unsaved files stay; 0 is for ever
	EventRetention  time.Duration `env:"EVENT_RETENTION" envDefault:"168h"`    // of the stream of all events; 0 keeps its newest 20,000

	// Workers
	HighCPU      float64       `env:"HIGH_WATER_CPU"`                    // percent of a node's CPU over five minutes, above which it takes no more containers; off if missing, for a compile alone may reach it
	HighMemory   float64       `env:"HIGH_WATER_MEMORY" envDefault:"90"` // the same of its memory now; 0 is never
	HighDisk     float64       `env:"HIGH_WATER_DISK" envDefault:"85"`   // the same of the disk of its engine's data directory
	PressureStop bool          `env:"PRESSURE_STOP"`                     // where a node's memory stays above its mark, save and stop the containers there that were used least lately
	CPUPinned    time.Duration `env:"CPU_PINNED_AFTER" envDefault:"1h"`  // time at its CPU limit after which a container is reported, in whole minutes, or in steps of 10 s below a minute; 0 turns it off
	HostProc     string        `env:"HOST_PROC" envDefault:"/proc"`      // the machine's own /proc, where a worker in a container finds it

	Concurrency int           `env:"WORKER_CONCURRENCY" envDefault:"64"` // functions at once in one worker; three quarters of them for one key; sweeps, and some stops, have slots beside them
	Grace       time.Duration `env:"WORKER_GRACE" envDefault:"20s"`      // how long running functions may go on after SIGTERM

	keys       []openapi.Key
	proxies    []netip.Prefix
	hookNets   []netip.Prefix
	egressNets []netip.Prefix
	origins    []string
	box        *seal.Box
	resources  ide.Resources
	most       ide.Resources
	templates  []ide.Template
	s3         *s3.Client
}

// LoadConfig reads the environment, which is given as "NAME=value" lines, and
// checks it.
func LoadConfig(environ []string) (*Config, error) {
	vars := env.ToMap(environ)
	for name, path := range vars {
		plain, ok := strings.CutSuffix(name, "_FILE")
		if !ok || vars[plain] != "" || !slices.Contains(variables(), plain) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		vars[plain] = strings.TrimSpace(string(text))
	}
	c := &Config{}
	if err := env.ParseWithOptions(c, env.Options{Environment: vars}); err != nil {
		return nil, err
	}
	return c, c.derive()
}

// variables returns the names of all variables.
func variables() []string {
	var names []string
	params, err := env.GetFieldParams(&Config{})
	if err != nil {
		panic("config: " + err.Error()) // the tags above
	}
	for _, p := range params {
		if p.Key != "" {
			names = append(names, p.Key)
		}
	}
	return names
}

// derive fills in what follows from other settings, and checks that each is
// one of its choices.
func (c *Config) derive() (err error) {
	if c.ContainerDomain == "" {
		c.ContainerDomain = c.Domain
	}
	if c.URLScheme == "" {
		c.URLScheme = "https"
		if isLocal(c.ContainerDomain) {
			c.URLScheme = "http"
		}
	}
	if c.CertResolver == "none" {
		c.CertResolver = ""
	}
	choices := []struct {
		name, value string
		of          []string
	}{
		{"URL_SCHEME", c.URLScheme, []string{"http", "https"}},
		{"ISOLATION", c.Isolation, []string{"on", "off"}},
		{"EGRESS", c.Egress, []string{"refuse-private", "off"}},
		{"ROUTING", c.Routing, []string{"gateway", "labels"}},
		{"PLACEMENT", c.Placement, []string{"spread", "pack"}},
		{"LOG_LEVEL", c.LogLevel, []string{"debug", "info", "warn", "error"}},
	}
	for _, ch := range choices {
		if !slices.Contains(ch.of, ch.value) {
			return fmt.Errorf("%s is %q; it can be %s", ch.name, ch.value, strings.Join(ch.of, " or "))
		}
	}
	if c.proxies, err = openapi.ParsePrefixes(c.Proxies); err != nil {
		return fmt.Errorf("TRUSTED_PROXIES: %w", err)
	}
	if c.hookNets, err = openapi.ParsePrefixes(c.WebhookAllow); err != nil {
		return fmt.Errorf("WEBHOOK_ALLOW: %w", err)
	}
	if c.egressNets, err = openapi.ParsePrefixes(c.EgressAllow); err != nil {
		return fmt.Errorf("EGRESS_ALLOW: %w", err)
	}
	if c.origins, err = openapi.ParseOrigins(c.Origins); err != nil {
		return fmt.Errorf("CORS_ORIGINS: %w", err)
	}
	if c.ReadTimeout <= 0 {
		return errors.New("READ_TIMEOUT must be above 0")
	}
	bytes := func(name, s string) int64 {
		if s == "" {
			return 0
		}
		n, perr := units.RAMInBytes(s)
		if perr != nil || n <= 0 {
			err = errors.Join(err, fmt.Errorf("%s is %q; it is a number of bytes with k, m or g", name, s))
		}
		return n
	}
	c.resources = ide.Resources{
		CPULimit: int64(c.CPULimit * 1e9), MemoryLimit: bytes("MEMORY_LIMIT", c.MemoryLimit),
		CPUReservation: int64(c.CPUReservation * 1e9), MemoryReservation: bytes("MEMORY_RESERVATION", c.MemoryReservation), PIDs: c.PIDs,
	}
	c.most = ide.Resources{CPULimit: int64(c.MaxCPU * 1e9), MemoryLimit: bytes("MAX_MEMORY", c.MaxMemory)}
	if err != nil {
		return err
	}
	if c.SaveInterval < time.Second || c.SaveDeadline > time.Hour || c.SaveDeadline < time.Second {
		return errors.New("SAVE_INTERVAL is at least 1s, SAVE_DEADLINE from 1s to 1h")
	}
	if err := errors.Join(c.checkTimes(), c.checkLogs(), c.checkTraces(), c.checkMarks()); err != nil {
		return err
	}
	if c.s3, err = s3.New(c.s3Config()); err != nil {
		return err
	}
	c.templates, err = templates.Read(c.TemplatesFile, c.Image)
	return err
}

// checkLogs refuses sizes that cannot be meant.
func (c *Config) checkLogs() error {
	for name, v := range map[string][3]int{
		"LOG_LINES": {c.LogLines, 1000, 10_000_000}, "CONTAINER_LOG_LINES": {c.ContainerLogLines, 100, 100_000}, "LOG_RATE": {c.LogRate, 0, 1_000_000},
	} {
		if v[0] < v[1] || v[0] > v[2] {
			return fmt.Errorf("%s is %d; it is from %d to %d", name, v[0], v[1], v[2])
		}
	}
	return nil
}

// checkTraces refuses what is no share and no URL.
func (c *Config) checkTraces() error {
	if c.TracesRatio < 0 || c.TracesRatio > 1 {
		return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is %v; it is from 0 to 1", c.TracesRatio)
	}
	if u, err := url.Parse(c.TracesTo); c.TracesTo != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT is %q; it is http://host:4318 or https://…", c.TracesTo)
	}
	return nil
}

// checkMarks refuses marks that are no percentages.
func (c *Config) checkMarks() error {
	for name, v := range map[string]float64{"HIGH_WATER_CPU": c.HighCPU, "HIGH_WATER_MEMORY": c.HighMemory, "HIGH_WATER_DISK": c.HighDisk} {
		if v < 0 || v > 100 {
			return fmt.Errorf("%s is %g; it is from 0 to 100", name, v)
		}
	}
	return nil
}

// checkTimes refuses times that cannot be meant.
func (c *Config) checkTimes() error {
	if c.ProbeInterval < time.Second || c.ProbeInterval != c.ProbeInterval.Truncate(time.Second) {
		return errors.New("PROBE_INTERVAL is whole seconds, at least 1s")
	}
	for name, d := range map[string]time.Duration{
		"IDLE_TIMEOUT": c.IdleTimeout, "MAX_IDLE_TIMEOUT": c.MaxIdleTimeout, "IDLE_WARNING": c.IdleWarning, "MAX_KEEPALIVE": c.MaxKeepalive,
		"MAX_LIFETIME": c.MaxLifetime, "RECORD_RETENTION": c.RecordRetention, "EVENT_RETENTION": c.EventRetention,
		"CPU_PINNED_AFTER": c.CPUPinned, "GATEWAY_GRACE": c.GatewayGrace,
	} {
		if d < 0 || d > 0 && d < time.Second {
			return fmt.Errorf("%s is %s; it is 0 or at least 1s", name, d)
		}
	}
	if most := c.MaxIdleTimeout; most > 0 && (c.IdleTimeout == 0 || c.IdleTimeout > most) {
		return errors.New("IDLE_TIMEOUT is more than MAX_IDLE_TIMEOUT")
	}
	return nil
}

// s3Config is the part of the configuration that is about users' buckets.
func (c *Config) s3Config() s3.Config {
	cfg := s3.Config{
		Off: c.S3Endpoint == "none", Endpoint: c.S3Endpoint, PathStyle: c.S3PathStyle, CA: c.S3CA, Encryption: c.S3Encryption, KMSKey: c.S3KMSKey,
		SingleWriter: c.S3SingleWriter, NoMirror: !c.S3Mirror, KeepGenerations: c.Generations, Interval: c.SaveInterval,
		RoleARN: c.S3RoleARN, STSEndpoint: c.S3STS, AccessKey: c.S3AccessKey, SecretKey: c.S3SecretKey, SessionTime: c.S3Session,
	}
	return cfg
}

// readKeys reads the API keys, which only the API needs.
func (c *Config) readKeys() (err error) {
	c.keys, err = openapi.ParseKeys(c.APIKey, c.APIKeys)
	return err
}

// makeBox reads SECRET_KEY, which the gateway does without.
func (c *Config) makeBox() (err error) {
	if len(c.SecretKeys) == 0 {
		return fmt.Errorf("no SECRET_KEY: set it to at least %d random characters, and keep it", seal.MinKey)
	}
	if c.box, err = seal.New(c.SecretKeys...); err != nil {
		return fmt.Errorf("SECRET_KEY: %w", err)
	}
	return nil
}

// isLocal says whether a host is this machine by name: browsers resolve
// *.localhost to it by themselves (RFC 6761, section 6.3).
func isLocal(domain string) bool {
	host, _, err := net.SplitHostPort(domain)
	if err != nil {
		host = domain
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// settings are the part of the configuration that functions see.
func (c *Config) settings() functions.Settings {
	return functions.Settings{
		URLScheme: c.URLScheme, ContainerDomain: c.ContainerDomain, EdgeURL: c.EdgeURL, Templates: c.templates, ImageAllow: c.ImageAllow, SaveDeadline: c.SaveDeadline,
		AWSRegion: c.AWSRegion, Resources: c.resources, MaxResources: c.most, MaxPerKey: c.MaxPerKey, Pack: c.Placement == "pack",
		WebhookAllow: c.hookNets, WebhooksPerKey: c.WebhooksPerKey,
		Schedules: map[string]string{functions.SweepProbe.Name: "@every " + c.ProbeInterval.String()}, IdleTimeout: c.IdleTimeout, MaxIdleTimeout: c.MaxIdleTimeout,
		IdleWarning: c.IdleWarning, MaxKeepalive: c.MaxKeepalive, MaxLifetime: c.MaxLifetime, EdgeUnseen: c.Routing == "labels",
		RecordRetention: c.RecordRetention, EventRetention: c.EventRetention,
		PressureStop: c.PressureStop,
	}
}

// swarm is the part of the configuration that the engine's adapter sees.
func (c *Config) swarm() swarm.Config {
	return swarm.Config{
		Host: c.DockerHost, Instance: c.Instance, Network: c.Network, Subnet: c.Subnet, Encrypted: c.Encrypted, Routing: c.Routing, TraefikV2: c.TraefikV2,
		EntryPoint: c.EntryPoint, CertResolver: c.CertResolver, StopGrace: c.StopGrace, ExecRoot: c.ExecRoot,
		Guarded: c.Isolation == "on",
	}
}

// guard is the part of the configuration that this node's protections see.
func (c *Config) guard() worker.GuardConfig {
	return worker.GuardConfig{
		Isolation: c.Isolation == "on", Egress: c.Egress != "off", ExecRoot: c.ExecRoot, HostNetNS: c.HostNetNS, Instance: c.Instance,
		Allow: c.egressNets, Store: c.S3Endpoint,
	}
}

// log writes JSON lines to w, from LOG_LEVEL on.
func (c *Config) log(w io.Writer) (slog.Handler, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, err
	}
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: seconds}), nil
}

// seconds writes durations as the API does, in seconds.
func seconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key, a.Value.Duration().Seconds())
	}
	return a
}

// process is the part of the configuration that a process with these roles
// sees.
func (c *Config) process(r process.Roles) process.Config {
	p := process.Config{
		Roles: r, Domain: c.Domain, Listen: c.Listen, ReadTimeout: c.ReadTimeout, NodeID: c.NodeID,
		Redis: func(ctx context.Context, log *slog.Logger) (*queue.Redis, error) { return openRedis(ctx, c, r, log) },
		Store: store.Config{JobRetention: c.JobRetention, Running: max(1, c.Concurrency*3/4), LogLines: c.LogLines, ContainerLines: c.ContainerLogLines},
		Deps:  functions.Deps{Box: c.box, S3: c.s3, HTTP: functions.AgentClient(), Hooks: functions.WebhookClient(c.hookNets), Settings: c.settings()},
		OpenAPI: openapi.Config{Keys: c.keys, Isolation: c.Isolation == "on", RateLimit: c.RateLimit, TrustedProxies: c.proxies, Origins: c.origins,
			TLS: c.URLScheme == "https", QueueWrite: c.QueueWrite},
		Gateway: gateway.Config{Domain: c.ContainerDomain, TrustedProxies: c.proxies, Grace: c.GatewayGrace},
		Swarm:   c.swarm(), Guard: c.guard(),
		Worker: worker.Config{Concurrency: c.Concurrency, Grace: c.Grace, LogRate: c.LogRate, HostProc: c.HostProc,
			HighWater: ide.HighWater{CPU: c.HighCPU, Memory: c.HighMemory, Disk: c.HighDisk}, PinnedAfter: c.CPUPinned},
	}
	if c.TracesTo != "" {
		p.Traces = &traces.Config{Endpoint: c.TracesTo, Headers: c.TracesHeaders, Service: c.TracesService, Role: r.Source(), Version: versionText(), Ratio: c.TracesRatio}
	}
	return p
}
