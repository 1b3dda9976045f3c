package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Durability says what a crash may cost.
const (
	External = "external" // a Redis of the operator's: as it is configured
	AOF      = "aof"      // a redis-server of ours with an append-only file: at most a second
	Snapshot = "snapshot" // in this process's memory, written every 30 seconds
)

// Redis is a connected Redis.
type Redis struct {
	Client     redis.UniversalClient
	Durability string
	Done       <-chan struct{} // closed when a Redis of ours ended by itself
	close      func() error
}

// Close disconnects, and ends a Redis of ours after it has written what it
// holds.
func (r *Redis) Close() error {
	err := r.Client.Close()
	if r.close != nil {
		err = errors.Join(err, r.close())
	}
	return err
}

// Connect opens the Redis that REDIS_URL names, see newClient, and waits as
// long as patience for one that cannot be reached or is loading its data: a
// stack starts all its services at once, and a container that has just begun
// may have no name service yet. Redis Cluster is refused: one script writes
// container, reservation and job together, which a cluster could not do faster
// than one node.
func Connect(ctx context.Context, url string, patience time.Duration, log *slog.Logger) (*Redis, error) {
	client, err := newClient(url)
	if err != nil {
		return nil, err
	}
	if err := reach(ctx, client, patience, log); err != nil {
		_ = client.Close() // never connected
		return nil, fmt.Errorf("reach redis: %w", err)
	}
	if err := suits(client.Info(ctx).Val()); err != nil { // a user that may not ask for INFO is believed
		_ = client.Close() // refused
		return nil, err
	}
	return &Redis{Client: client, Durability: External}, nil
}

// reachEvery is the pause between two attempts to reach a Redis.
const reachEvery = 250 * time.Millisecond

// reach asks until Redis answers or patience is over, and returns why it did
// not. An answer that asking again does not change, a wrong password, ends it
// at once.
func reach(ctx context.Context, client redis.UniversalClient, patience time.Duration, log *slog.Logger) error {
	over := time.Now().Add(patience)
	for told := false; ; told = true {
		err := client.Ping(ctx).Err()
		var answer redis.Error
		final := errors.As(err, &answer) && !redis.HasErrorPrefix(err, "LOADING") && !redis.HasErrorPrefix(err, "MASTERDOWN")
		if err == nil || final || time.Until(over) < reachEvery {
			return err
		}
		if !told {
			log.Warn("redis does not answer yet", "err", err, "patience", patience)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(reachEvery):
		}
	}
}

// suits says of a Redis, by its INFO, whether Berth can use it.
func suits(info string) error {
	switch {
	case containsLine(info, "cluster_enabled:1"):
		return errors.New("this is a Redis Cluster; Berth needs a single node or Sentinel")
	case containsLine(info, "redis_mode:sentinel"):
		return errors.New("this is a Sentinel, not the Redis that it watches; REDIS_URL is then redis-sentinel://host:26379,host:26379/0?master=name")
	}
	return nil
}

// poolSize gives room for readers that block, one connection each.
const poolSize = 256

// Bring starts a Redis of our own in dir: a redis-server or valkey-server
// from PATH as a child process, or, without one, a Redis in this process.
// Only this process may use it: a second one would take the socket away and
// write into the same file, so it is refused.
func Bring(ctx context.Context, dir string, log *slog.Logger) (*Redis, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s is in use by another process: %w", dir, err), lock.Close())
	}
	r, err := bring(ctx, dir, log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	end := r.close
	r.close = func() error { return errors.Join(end(), lock.Close()) }
	return r, nil
}

// Attach connects to the Redis that another process has brought in dir. That is
// only possible where it is a child of that process.
func Attach(ctx context.Context, dir string) (*Redis, error) {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: filepath.Join(dir, "redis.sock")})
	err := client.Ping(ctx).Err()
	if err == nil {
		return &Redis{Client: client, Durability: AOF}, nil
	}
	err = fmt.Errorf("no REDIS_URL is set, and no `berth up` with a redis-server runs in DATA_DIR %s: %w", dir, err)
	if _, serr := os.Stat(filepath.Join(dir, snapshotFile)); serr == nil {
		err = fmt.Errorf("the Redis of a `berth up` without redis-server in PATH is inside that process, where nothing else reaches it; "+
			"a copy of %s, which it writes every %v and when it ends, is the backup", filepath.Join(dir, snapshotFile), snapshotEvery)
	}
	return nil, errors.Join(err, client.Close())
}

func bring(ctx context.Context, dir string, log *slog.Logger) (*Redis, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return child(ctx, path, dir)
		}
	}
	log.Warn("no redis-server in PATH: jobs live in this process, are written to disk every 30 seconds, and a crash costs what came since",
		"durability", Snapshot)
	return memory(ctx, filepath.Join(dir, snapshotFile), log)
}

// child starts a redis-server that nobody reaches but through its socket, and
// that ends with us.
func child(ctx context.Context, path, dir string) (*Redis, error) {
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--save", "",
		"--loglevel", "warning", "--daemonize", "no")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		// the death signal is sent when the thread that started the child
		// ends (prctl(2)), so that thread is kept
		runtime.LockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // that it ended is what Done tells
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	r := &Redis{Durability: AOF, Done: done, Client: redis.NewClient(&redis.Options{Network: "unix", Addr: socket, PoolSize: poolSize})}
	r.close = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-done:
			return nil
		case <-time.After(10 * time.Second):
			return errors.New("redis-server did not end within 10 s")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // loading a large file takes its time
	defer cancel()
	for {
		if err := r.Client.Ping(ctx).Err(); err == nil {
			return r, nil
		}
		select {
		case <-done:
			return nil, errors.Join(fmt.Errorf("%s ended at once; its reason stands above", path), r.Client.Close())
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s does not answer: %w", path, ctx.Err()), r.Close())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
