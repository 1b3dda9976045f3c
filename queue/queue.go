// Package queue is asynq's client side: the queues and their weights, the
// delivery of jobs, the instants of scheduled functions, and the Redis that
// Berth brings along when it is given none.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/robfig/cron/v3"
)

// The queues. A worker serves them by weight, so that none starves.
const (
	Critical = "critical" // stops: they give room
	Default  = "default"  // starts
	Low      = "low"      // probes, sweeps, cleaning
)

// OnNode stands for the queue of the node that a job is about, which only the
// worker of that node serves.
const OnNode = "node"

// nodePrefix begins the names of the nodes' queues.
const nodePrefix = "node-"

// OfNode is the queue of a node, by its engine ID.
func OfNode(node string) string { return nodePrefix + node }

// Of is the queue of a job whose function is on queue.
func Of(queue, job string) string {
	if queue == OnNode {
		return OfNode(TargetOf(job))
	}
	return queue
}

// Weights says how often each queue is looked at first.
func Weights() map[string]int { return map[string]int{Critical: 6, Default: 3, Low: 1} }

// JobTask is the kind of the tasks on the queues; its payload is a Delivery.
const JobTask = "job"

// Delivery is the payload of a job's task. Everything else stands in the
// job's record.
type Delivery struct {
	Job    string `json:"job"`
	Number int    `json:"number"` // a job's later deliveries replace its earlier ones
}

// Client delivers. It is safe for concurrent use.
type Client struct {
	rdb       redis.UniversalClient
	asynq     *asynq.Client
	inspector *asynq.Inspector
	timeout   time.Duration
}

// New returns a Client on a connected Redis client, which it does not close.
func New(rdb redis.UniversalClient) *Client {
	return &Client{rdb: rdb, asynq: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb), timeout: enqueueTimeout}
}

// Within returns a client whose deliveries may take up to d each, instead of 2 s.
func (c *Client) Within(d time.Duration) *Client {
	other := *c
	other.timeout = d
	return &other
}

// MakeRedisClient implements asynq.RedisConnOpt, for who looks at the queues
// through the connection of this process.
func (c *Client) MakeRedisClient() any { return c.rdb }

// enqueueTimeout bounds one call to Redis: a job that could not be delivered
// in this time is delivered by a worker's ticker.
const enqueueTimeout = 2 * time.Second

// taskID names a delivery: the same job may be delivered again, under the
// next number, when a delivery was lost.
func taskID(job string, delivery int) string { return job + "#" + strconv.Itoa(delivery) }

// Deliver puts a job on its queue. A delivery that is there already is a
// success.
func (c *Client) Deliver(ctx context.Context, job string, delivery int, queue string, timeout time.Duration) error {
	payload, err := json.Marshal(Delivery{Job: job, Number: delivery})
	if err != nil {
		return fmt.Errorf("encode delivery: %w", err)
	}
	return c.enqueue(ctx, asynq.NewTask(JobTask, payload), asynq.TaskID(taskID(job, delivery)), asynq.Queue(queue),
		asynq.Timeout(timeout), asynq.MaxRetry(retries))
}

// retries is more than a job ever needs: attempts are counted by its record.
const retries = 10_000

func (c *Client) enqueue(ctx context.Context, t *asynq.Task, opts ...asynq.Option) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := c.asynq.EnqueueContext(ctx, t, opts...)
	if err == nil || errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	return ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
}

// Register names the queues in Redis again. asynq does so once in the life of a
// client, and looks into no queue that is not named: after Redis has lost its
// data, State would be blind until every process was started anew.
func (c *Client) Register(ctx context.Context) error {
	for name := range Weights() {
		if err := c.rdb.SAdd(ctx, "asynq:queues", name).Err(); err != nil {
			return ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
		}
	}
	return nil
}

// KeepNodes names the queues of the nodes that are there, as Register does the
// shared ones, and removes those of nodes that have left, with what is in them:
// nobody will ever take it.
func (c *Client) KeepNodes(ctx context.Context, nodes []string) error {
	names := make([]any, len(nodes))
	for i, n := range nodes {
		names[i] = OfNode(n)
	}
	if err := c.rdb.SAdd(ctx, "asynq:queues", names...).Err(); err != nil {
		return ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
	}
	all, err := c.inspector.Queues()
	if err != nil {
		return ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
	}
	for _, name := range all {
		node, ok := strings.CutPrefix(name, nodePrefix)
		if !ok || slices.Contains(nodes, node) {
			continue
		}
		err := c.abandon(ctx, name)
		if err == nil {
			err = c.inspector.DeleteQueue(name, true)
		}
		if err != nil && !errors.Is(err, asynq.ErrQueueNotFound) {
			return ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
		}
	}
	return nil
}

// abandon forgets what a worker that is gone had taken from a queue: asynq
// removes no queue of which something is being worked on.
func (c *Client) abandon(ctx context.Context, name string) error {
	key := func(part string) string { return "asynq:{" + name + "}:" + part }
	taken, err := c.rdb.LRange(ctx, key("active"), 0, -1).Result()
	if err != nil {
		return err
	}
	gone := []string{key("active"), key("lease")}
	for _, id := range taken {
		gone = append(gone, key("t:"+id))
	}
	return c.rdb.Del(ctx, gone...).Err()
}

// State is what the queue knows of a delivery.
type State int

// The states.
const (
	Absent  State = iota // never came, or was acknowledged
	Waiting              // will come to a worker by itself
	Stale                // taken by a worker and not acknowledged, or given up
)

// State looks a delivery up.
func (c *Client) State(job string, delivery int, queue string) (State, error) {
	info, err := c.inspector.GetTaskInfo(queue, taskID(job, delivery))
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return Absent, nil
	}
	if err != nil {
		return Absent, ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
	}
	switch info.State {
	case asynq.TaskStatePending, asynq.TaskStateScheduled, asynq.TaskStateRetry:
		return Waiting, nil
	case asynq.TaskStateCompleted:
		return Absent, nil
	default:
		return Stale, nil
	}
}

// Depth is how much of a queue waits for a worker.
type Depth struct {
	Queue   string
	Waiting int
	Oldest  time.Duration // how long the first of it has waited
}

// Depths returns the depth of every queue. One that was never used is empty.
func (c *Client) Depths() ([]Depth, error) {
	used, err := c.inspector.Queues()
	if err != nil {
		return nil, ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
	}
	var all []Depth
	for name := range Weights() {
		d := Depth{Queue: name}
		if slices.Contains(used, name) {
			info, err := c.inspector.GetQueueInfo(name)
			if err != nil {
				return nil, ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
			}
			d.Waiting, d.Oldest = info.Pending, info.Latency
		}
		all = append(all, d)
	}
	return all, nil
}

// ParseSchedule reads a schedule as robfig/cron does: five fields, or
// "@every 15s" and the like.
func ParseSchedule(s string) (cron.Schedule, error) {
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return nil, fmt.Errorf("parse schedule %q: %w", s, err)
	}
	return schedule, nil
}

// Next returns the instant of a schedule that follows t, the same on every
// worker: "@every d" is counted from the zero time and not from the start of
// a process.
func Next(s cron.Schedule, t time.Time) time.Time {
	if every, ok := s.(cron.ConstantDelaySchedule); ok {
		return t.UTC().Truncate(every.Delay).Add(every.Delay)
	}
	return s.Next(t.UTC())
}

// FunctionOf returns the function's name of a job ID.
func FunctionOf(job string) string {
	name, _, _ := strings.Cut(job, ":")
	return name
}

// TargetOf returns what a job's ID says that it is about: a container, a node,
// or nothing.
func TargetOf(job string) string {
	_, rest, _ := strings.Cut(job, ":")
	target, _, _ := strings.Cut(rest, ":")
	return target
}
