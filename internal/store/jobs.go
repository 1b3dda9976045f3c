package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// Job returns a job, or JOB_NOT_FOUND.
func (s *Store) Job(ctx context.Context, id string) (ide.Job, error) {
	v, err := s.rdb.HMGet(ctx, jobKey(id), "doc", "status", "attempt").Result()
	if err != nil {
		return ide.Job{}, down(err)
	}
	if v[0] == nil {
		return ide.Job{}, ide.Errorf(ide.JobNotFound, "There is no job %q.", id)
	}
	return decodeJob(v)
}

// JobWithArgs returns a job and what its function gets in a worker, as JSON.
func (s *Store) JobWithArgs(ctx context.Context, id string) (ide.Job, []byte, error) {
	j, err := s.Job(ctx, id)
	if err != nil {
		return j, nil, err
	}
	args, err := s.rdb.HGet(ctx, jobKey(id), "args").Bytes()
	return j, args, down(err)
}

// decodeJob reads the fields doc, status and attempt.
func decodeJob(v []any) (ide.Job, error) {
	var j ide.Job
	doc, _ := v[0].(string)
	if err := json.Unmarshal([]byte(doc), &j); err != nil {
		return j, fmt.Errorf("decode job: %w", err)
	}
	status, _ := v[1].(string)
	attempt, _ := v[2].(string)
	j.Status, j.Attempt = ide.JobStatus(status), atoi(attempt)
	return j, nil
}

// Jobs returns a page of jobs, newest first, and how many match.
func (s *Store) Jobs(ctx context.Context, f Filter) ([]ide.Job, int, error) {
	ids, total, err := s.page(ctx, "js", f)
	if err != nil {
		return nil, 0, err
	}
	list, err := s.jobs(ctx, ids)
	return list, total, err
}

// jobs reads the records of ids; one that cannot be read is left out.
func (s *Store) jobs(ctx context.Context, ids []string) ([]ide.Job, error) {
	rows := make([]*redis.SliceCmd, len(ids))
	if len(ids) > 0 {
		_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range ids {
				rows[i] = p.HMGet(ctx, jobKey(id), "doc", "status", "attempt")
			}
			return nil
		})
		if err != nil {
			return nil, down(err)
		}
	}
	list := make([]ide.Job, 0, len(ids))
	for _, row := range rows {
		if j, err := decodeJob(row.Val()); err == nil {
			list = append(list, j)
		}
	}
	return list, nil
}

// Cancel marks an open job: a queued one ends as soon as a worker sees it, a
// running one at its next step. An ended one is a CONFLICT.
func (s *Store) Cancel(ctx context.Context, id string) error {
	got, err := s.run(ctx, cancelScript, []string{jobKey(id), dueKey}, id, ms(s.Time(ctx)))
	if err == nil && got[0] == "ended" {
		return ide.Errorf(ide.Conflict, "The job has ended.")
	}
	return err
}

// Force sets the force flag of a job that is open; one that has ended stays as it
// is.
func (s *Store) Force(ctx context.Context, id string) error {
	_, err := s.run(ctx, forceScript, []string{jobKey(id)})
	return err
}

// Due is an open job that ought to be running.
type Due struct {
	ID       string
	Function string
	Delivery int
	Cancel   bool
}

// Due returns up to limit open jobs that ought to have begun before t and on
// whose target no worker holds a lease, oldest first.
func (s *Store) Due(ctx context.Context, t time.Time, limit int) ([]Due, error) {
	ids, err := s.rdb.ZRangeByScore(ctx, dueKey, &redis.ZRangeBy{Min: "-inf", Max: fmt.Sprint(ms(t)), Count: int64(limit)}).Result()
	if err != nil || len(ids) == 0 {
		return nil, down(err)
	}
	rows := make([]*redis.SliceCmd, len(ids))
	leases := make([]*redis.IntCmd, len(ids))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			rows[i] = p.HMGet(ctx, jobKey(id), "function", "delivery", "cancel")
			leases[i] = p.Exists(ctx, leaseKey(Target(id)))
		}
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	var due []Due
	for i, id := range ids {
		if v := rows[i].Val(); leases[i].Val() == 0 && v[0] != nil {
			due = append(due, Due{ID: id, Function: fmt.Sprint(v[0]), Delivery: atoi(fmt.Sprint(v[1])), Cancel: v[2] == "1"})
		}
	}
	return due, nil
}

// Target is whose lease a job takes: its container's, or its function's where
// it has none. What is done to a node may be done beside other things that are
// done to it, so there the lease is that of the function and the node.
func Target(job string) string {
	function, rest, _ := strings.Cut(job, ":")
	target, _, _ := strings.Cut(rest, ":")
	switch {
	case target == "":
		return function
	case strings.HasPrefix(function, "node-"):
		return function + ":" + target
	}
	return target
}

// Deliveries returns the numbers of the last deliveries of jobs; 0 is a job
// that is not there.
func (s *Store) Deliveries(ctx context.Context, ids []string) ([]int, error) {
	rows := make([]*redis.StringCmd, len(ids))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			rows[i] = p.HGet(ctx, jobKey(id), "delivery")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, down(err)
	}
	numbers := make([]int, len(ids))
	for i, row := range rows {
		numbers[i] = atoi(row.Val())
	}
	return numbers, nil
}

// Redeliver returns the number of the delivery that should follow the lost
// one; ok is false when the job has ended.
func (s *Store) Redeliver(ctx context.Context, id string, lost int) (next int, ok bool, err error) {
	got, err := s.run(ctx, redeliverScript, []string{jobKey(id)}, lost)
	if err != nil || got[0] != "ok" {
		return 0, false, err
	}
	return atoi(got[1]), true, nil
}

// Prune removes jobs that ended before the retention time and returns their
// number.
func (s *Store) Prune(ctx context.Context) (int, error) {
	for total := 0; ; {
		got, err := s.run(ctx, pruneScript, []string{endedKey}, ms(s.Time(ctx).Add(-s.cfg.JobRetention)))
		if err != nil {
			return total, err
		}
		if got[0] == "0" {
			return total, nil
		}
		total += atoi(got[0])
	}
}

// waitReread is how often a waiting caller looks at its job although nothing
// was heard: the end may have been told while the feed could not read.
const waitReread = 5 * time.Second

// WaitJob returns the job when it has ended, or as it stands when ctx ends.
// Follow must be running for it to be told at once.
func (s *Store) WaitJob(ctx context.Context, id string) (ide.Job, error) {
	for {
		sub := s.Subscribe(1, func(e ide.Event) bool { return e.Job == id && strings.HasPrefix(e.Type, "job.") })
		j, err := s.Job(context.WithoutCancel(ctx), id)
		if err != nil || j.Status.Ended() || ctx.Err() != nil {
			sub.Close()
			return j, err
		}
		wait := time.NewTimer(waitReread)
		select {
		case _, ok := <-sub.Items:
			if !ok { // the feed lost its place: look again soon
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
		sub.Close()
	}
}

// ErrHeld says that another worker holds the lease of the job's target.
var ErrHeld = errors.New("the lease is held")

// ErrEnded says that the job is over, or was never written.
var ErrEnded = errors.New("the job has ended")

// ErrMore says that a job cannot end: more was asked of it meanwhile.
var ErrMore = errors.New("more was asked of the job")

// ErrWaits says that the job's owner has as many jobs running as it may: the
// job is delivered when one of them ends.
var ErrWaits = errors.New("others of the same owner come first")

// ErrLost says that the lease is no longer ours: whatever we did not finish
// is somebody else's now.
var ErrLost = errors.New("the lease is lost")
