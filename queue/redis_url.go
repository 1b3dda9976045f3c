package queue

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// errURL tells the forms of REDIS_URL, and nothing of the one that was given:
// it holds a password.
var errURL = errors.New("REDIS_URL cannot be read: it is redis://[user:password@]host:port/db, rediss://… with TLS, redis-socket:///path?db=0, " +
	"or redis-sentinel://[user:password@]host:26379,host:26379,host:26379/db?master=name, rediss-sentinel://… with TLS; " +
	"in a user or password, / ? # @ : and % are written as % and two digits")

// dialTimeout bounds one try to reach Redis; every call tries four times. With
// the client's own five times 5 s for each of those, a worker whose network is
// gone would not end when it is told to.
const dialTimeout = 2 * time.Second

// newClient returns a client, not yet connected, for REDIS_URL.
func newClient(text string) (redis.UniversalClient, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	switch scheme {
	case "redis", "rediss", "redis-socket":
		if scheme == "redis-socket" {
			text = "unix://" + rest
		}
		opt, err := redis.ParseURL(text)
		if err != nil {
			return nil, errURL
		}
		opt.PoolSize, opt.DialTimeout, opt.DialerRetries = poolSize, dialTimeout, 1
		return redis.NewClient(opt), nil
	case "redis-sentinel", "rediss-sentinel":
		opt, err := sentinels(rest)
		if err != nil {
			return nil, errURL
		}
		if scheme == "rediss-sentinel" {
			opt.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12} // go-redis sets each server's own name
		}
		opt.PoolSize, opt.DialTimeout, opt.DialerRetries = poolSize, dialTimeout, 1
		return redis.NewFailoverClient(opt), nil
	}
	return nil, errURL
}

// sentinels reads what follows redis-sentinel://. User and password are those
// of Redis; sentinel_user and sentinel_password those of the sentinels, if they
// ask for one. A list of hosts is no host to net/url, so only the first passes
// through it.
func sentinels(rest string) (*redis.FailoverOptions, error) {
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		return nil, errURL // no master
	}
	authority, tail := rest[:end], rest[end:]
	at := strings.LastIndex(authority, "@") + 1
	hosts := strings.Split(authority[at:], ",")
	u, err := url.Parse("redis://" + authority[:at] + hosts[0] + tail)
	if err != nil {
		return nil, err
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, err
	}
	for key := range q {
		if !slices.Contains([]string{"master", "sentinel_user", "sentinel_password"}, key) {
			return nil, errURL
		}
	}
	opt := &redis.FailoverOptions{MasterName: q.Get("master"), SentinelUsername: q.Get("sentinel_user"), SentinelPassword: q.Get("sentinel_password")}
	opt.Username = u.User.Username()
	opt.Password, _ = u.User.Password()
	if db := strings.Trim(u.Path, "/"); db != "" {
		if opt.DB, err = strconv.Atoi(db); err != nil {
			return nil, err
		}
	}
	for _, h := range hosts {
		host, port, err := net.SplitHostPort(h)
		if err != nil {
			host, port = strings.Trim(h, "[]"), "26379"
		}
		if host == "" || opt.MasterName == "" {
			return nil, errURL
		}
		opt.SentinelAddrs = append(opt.SentinelAddrs, net.JoinHostPort(host, port))
	}
	return opt, nil
}
