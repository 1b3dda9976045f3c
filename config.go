package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/seal"
	"berth/openapi"

	"github.com/caarlos0/env/v11"
	"github.com/docker/go-units"
)

// Config is everything an operator can set. It is the only reader of the
// environment. Every variable X can also be given as X_FILE, the path of a
// file that holds the value, as Docker mounts secrets.
type Config struct {
	Listen          string `env:"LISTEN" envDefault:":8080"`                   // address of the HTTP server
	Domain          string `env:"DOMAIN" envDefault:"localhost:8080"`          // host name of the API, with its port if that is not the scheme's own
	ContainerDomain string `env:"CONTAINER_DOMAIN"`                            // containers answer under it; DOMAIN if missing
	URLScheme       string `env:"URL_SCHEME"`                                  // http or https; http for localhost, https else
	EdgeURL         string `env:"EDGE_URL" envDefault:"http://127.0.0.1:8080"` // where workers find the gateway (or Traefik), to see whether URLs answer
	LogLevel        string `env:"LOG_LEVEL" envDefault:"info"`                 // debug, info, warn or error

	APIKey     string   `env:"API_KEY"`                     // one admin key, at least 32 characters
	APIKeys    string   `env:"API_KEYS"`                    // name:role:key, by commas; roles are admin, client and viewer
	SecretKeys []string `env:"SECRET_KEY"`                  // at least 32 characters; the first seals, all open, by commas
	RateLimit  int      `env:"RATE_LIMIT" envDefault:"100"` // requests a minute of one key, or of one address without a key; 0 is any number
	Proxies    []string `env:"TRUSTED_PROXIES"`             // addresses and networks of proxies whose X-Forwarded headers are believed, by commas

	RedisURL     string        `env:"REDIS_URL"`                        // redis://, rediss://, redis-socket:// or redis-sentinel://; berth up brings its own if missing
	DataDir      string        `env:"DATA_DIR" envDefault:"berth-data"` // of the Redis that berth up brings
	JobRetention time.Duration `env:"JOB_RETENTION" envDefault:"168h"`  // how long an ended job can be looked up

	DockerHost   string `env:"DOCKER_HOST"`                                    // the engine of this node; its default socket if missing
	ExecRoot     string `env:"ENGINE_EXEC_ROOT" envDefault:"/var/run/docker"`  // the engine's --exec-root, for the isolation filter
	Instance     string `env:"INSTANCE" envDefault:"main"`                     // tells apart several Berths on one Swarm
	Network      string `env:"NETWORK" envDefault:"ide-network"`               // the containers' overlay network
	Subnet       string `env:"NETWORK_SUBNET" envDefault:"10.86.0.0/16"`       // its addresses, when Berth makes it
	Isolation    string `env:"ISOLATION" envDefault:"on"`                      // off lets containers reach each other
	Routing      string `env:"ROUTING" envDefault:"gateway"`                   // gateway, or labels for Traefik's Swarm provider
	TraefikV2    bool   `env:"TRAEFIK_V2"`                                     // the older names of Traefik's labels
	EntryPoint   string `env:"TRAEFIK_ENTRYPOINT" envDefault:"websecure"`      // of the routers in the labels
	CertResolver string `env:"TRAEFIK_CERT_RESOLVER" envDefault:"letsencrypt"` // of the routers in the labels; empty is none

	Image             string        `env:"IMAGE" envDefault:"berth/ide:slim"`      // what a container runs when a request names no image
	ImageAllow        []string      `env:"IMAGE_ALLOW"`                            // patterns of images a request may name, by commas
	AWSRegion         string        `env:"AWS_REGION" envDefault:"us-east-1"`      // of buckets, when a request names none
	CPULimit          float64       `env:"CPU_LIMIT" envDefault:"2"`               // cores
	MemoryLimit       string        `env:"MEMORY_LIMIT" envDefault:"4g"`           //
	CPUReservation    float64       `env:"CPU_RESERVATION" envDefault:"0.25"`      // what admission counts with
	MemoryReservation string        `env:"MEMORY_RESERVATION" envDefault:"512m"`   //
	MaxCPU            float64       `env:"MAX_CPU"`                                // the most a request may ask for; 0 is any
	MaxMemory         string        `env:"MAX_MEMORY"`                             //
	PIDs              int64         `env:"PIDS_LIMIT" envDefault:"2048"`           // processes and threads in a container
	MaxPerKey         int           `env:"MAX_CONTAINERS_PER_KEY" envDefault:"50"` // live containers of one key; 0 is any number
	Placement         string        `env:"PLACEMENT" envDefault:"spread"`          // spread or pack
	StopGrace         time.Duration `env:"STOP_GRACE" envDefault:"120s"`           // between SIGTERM and SIGKILL

	Concurrency int           `env:"WORKER_CONCURRENCY" envDefault:"64"` // functions at once in one worker
	Grace       time.Duration `env:"WORKER_GRACE" envDefault:"20s"`      // how long running functions may go on after SIGTERM

	keys      []openapi.Key
	proxies   []netip.Prefix
	box       *seal.Box
	resources ide.Resources
	most      ide.Resources
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
	choices := []struct {
		name, value string
		of          []string
	}{
		{"URL_SCHEME", c.URLScheme, []string{"http", "https"}},
		{"ISOLATION", c.Isolation, []string{"on", "off"}},
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
	return err
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
