// Package doctor looks for what is wrong with an installation: the engine and
// its Swarm, Redis, names, ports, certificates, the store of workspaces,
// clocks, images. Each finding says what was seen and what to do about it. It
// only looks: nothing is changed, and nothing secret is in a finding.
package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"berth/internal/ide"
	"berth/internal/s3"
	"berth/internal/store"
	"berth/internal/swarm"

	"github.com/redis/go-redis/v9"
)

// What a check comes to. Only a Fail makes the whole fail.
const (
	OK   = "ok"
	Warn = "warn" // works, but not as it should, or not for long
	Fail = "fail"
	Skip = "skip" // cannot be looked at from here, or does not apply
)

// Finding is what one check has come to.
type Finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Found  string `json:"found"`        // what was seen
	Do     string `json:"do,omitempty"` // what to do about it
}

// Config is what is looked at, and the ways there. The zero values of Self,
// Resolve, Dial and Roots are this machine's.
type Config struct {
	Swarm    *swarm.Client
	Redis    redis.UniversalClient // nil with RedisErr
	RedisErr error
	S3       *s3.Client
	Images   []string // of the templates, the default's first

	Domain          string // host name of the API, perhaps with a port
	ContainerDomain string
	TLS             bool // both are reached over HTTPS
	Isolation       bool
	Egress          bool

	Self    string // what the kernel says of this process; a container of the engine's shows what the engine gives all
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Roots   *x509.CertPool

	CheckTime time.Duration // of one check; 0 is 10 s
}

func (c Config) withDefaults() Config {
	if c.Self == "" {
		c.Self = "/proc/self/status"
	}
	if c.Resolve == nil {
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.CheckTime == 0 {
		c.CheckTime = checkTime
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	return c
}

// examination is one look at everything: what several checks need is asked for
// once.
type examination struct {
	cfg     Config
	store   *store.Store // nil without Redis
	engine  error        // why there is no survey
	survey  swarm.Survey
	nodes   []ide.Node // as a manager sees them
	workers []ide.Worker
	now     time.Time // Redis's clock; this machine's without one

	surveyed, asked span          // when, by this machine's clock, the survey was made and now was read
	workersRead     time.Duration // how long after now was asked for the workers were read
}

// span is from before a question until after its answer.
type span struct{ from, to time.Time }

// checkTime bounds one check, unless Config says so.
const checkTime = 10 * time.Second

// Examine runs all checks. It takes at most some seconds more than checkTime.
func Examine(ctx context.Context, cfg Config) []Finding {
	now := time.Now()
	e := &examination{cfg: cfg.withDefaults(), now: now, asked: span{now, now}}
	e.ask(ctx)
	checks := []struct {
		name string
		look func(*examination, context.Context) []Finding
	}{
		{"engine", (*examination).lookEngine},
		{"hardening", (*examination).lookHardening},
		{"swarm", (*examination).lookSwarm},
		{"nodes", (*examination).lookNodes},
		{"address pools", (*examination).lookPools},
		{"addresses", (*examination).lookAddresses},
		{"swarm ports", (*examination).lookSwarmPorts},
		{"overlay", (*examination).lookOverlay},
		{"closed ports", (*examination).lookClosedPorts},
		{"redis", (*examination).lookRedis},
		{"redis memory", (*examination).lookRedisMemory},
		{"redis latency", (*examination).lookRedisLatency},
		{"workers", (*examination).lookWorkers},
		{"isolation", (*examination).lookIsolation},
		{"egress", (*examination).lookEgress},
		{"images", (*examination).lookImages},
		{"clocks", (*examination).lookClocks},
		{"names", (*examination).lookNames},
		{"entry ports", (*examination).lookEntry},
		{"certificates", (*examination).lookCertificates},
		{"s3", (*examination).lookS3},
	}
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, e.cfg.CheckTime)
			defer cancel()
			found[i] = c.look(e, ctx)
			for k := range found[i] {
				found[i][k].Check = c.name
			}
		})
	}
	all.Wait()
	return slices.Concat(found...)
}

// Failed says whether a finding is a failure.
func Failed(list []Finding) bool {
	return slices.ContainsFunc(list, func(f Finding) bool { return f.Status == Fail })
}

// ask asks engine and Redis for what more than one check looks at.
func (e *examination) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CheckTime)
	defer cancel()
	began := time.Now()
	e.survey, e.engine = e.cfg.Swarm.Survey(ctx)
	e.surveyed = span{began, time.Now()}
	if e.engine == nil && e.survey.Manager {
		e.nodes, e.engine = e.cfg.Swarm.Nodes(ctx)
	}
	if e.cfg.Redis == nil {
		e.cfg.RedisErr = cmp.Or(e.cfg.RedisErr, errors.New("no Redis is configured"))
		return
	}
	e.store = store.New(e.cfg.Redis, store.Config{})
	began = time.Now()
	if now, err := e.cfg.Redis.Time(ctx).Result(); err == nil {
		e.now, e.asked = now, span{began, time.Now()}
	}
	var err error
	if e.workers, err = e.store.Workers(ctx, time.Hour); err != nil {
		e.cfg.RedisErr, e.store = err, nil
	}
	e.workersRead = time.Since(e.asked.from)
}

// host is a name without its port.
func host(domain string) string {
	if h, _, err := net.SplitHostPort(domain); err == nil {
		return h
	}
	return domain
}

// port is a name's own port, or the scheme's.
func port(domain string, tls bool) string {
	if _, p, err := net.SplitHostPort(domain); err == nil {
		return p
	}
	if tls {
		return "443"
	}
	return "80"
}

// probe says whether somebody listens.
func (e *examination) probe(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := e.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// handshake returns the certificates that a name is answered with.
func (e *examination) handshake(ctx context.Context, address, name string) (tls.ConnectionState, error) {
	conn, err := e.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: e.cfg.Roots, MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), nil
}

func ok(format string, args ...any) []Finding {
	return []Finding{{Status: OK, Found: fmt.Sprintf(format, args...)}}
}

func skip(format string, args ...any) []Finding {
	return []Finding{{Status: Skip, Found: fmt.Sprintf(format, args...)}}
}

func warn(do, format string, args ...any) []Finding {
	return []Finding{{Status: Warn, Found: fmt.Sprintf(format, args...), Do: do}}
}

func fail(do, format string, args ...any) []Finding {
	return []Finding{{Status: Fail, Found: fmt.Sprintf(format, args...), Do: do}}
}
