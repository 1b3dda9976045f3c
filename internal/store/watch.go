package store

import (
	"context"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// changedChannel is where scripts say what they have written: "c <container>
// <owner>", "j <job>". Nobody keeps it: who missed something reads again.
const changedChannel = prefix + "changed"

// Change is a record that was written. Without a container and a job it says
// that Redis still answers.
type Change struct {
	Container, Job string
	Owner          string // of the container
}

// Watch tells of every record that is written from when ready is called, and
// every interval that Redis answers, until ctx ends or Redis does not.
func (s *Store) Watch(ctx context.Context, interval time.Duration, ready func(), see func(Change)) error {
	sub := s.rdb.Subscribe(ctx, changedChannel)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // a read does not end with its context
	pinging, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for tick := time.NewTicker(interval); ; {
			select {
			case <-pinging.Done():
				tick.Stop()
				return
			case <-tick.C:
				_ = sub.Ping(pinging) // if it fails, so does the read
			}
		}
	}()
	for {
		got, err := sub.ReceiveTimeout(ctx, 2*interval)
		if err != nil {
			return down(err)
		}
		switch m := got.(type) {
		case *redis.Subscription:
			ready()
		case *redis.Pong:
			see(Change{})
		case *redis.Message:
			switch part := strings.Split(m.Payload, " "); {
			case part[0] == "c" && len(part) == 3:
				see(Change{Container: part[1], Owner: part[2]})
			case part[0] == "j" && len(part) == 2:
				see(Change{Job: part[1]})
			}
		}
	}
}

// ContainersOf returns those of the containers that there are.
func (s *Store) ContainersOf(ctx context.Context, ids []string) ([]ide.Container, error) {
	return s.containers(ctx, ids)
}

// JobsOf returns those of the jobs that there are.
func (s *Store) JobsOf(ctx context.Context, ids []string) ([]ide.Job, error) { return s.jobs(ctx, ids) }
