// Package queue is asynq's client side: the queues and their weights, the
// delivery of jobs, the instants of scheduled functions, and the Redis that
// Berth brings along when it is given none.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// Weights says how often each queue is looked at first.
func Weights() map[string]int { return map[string]int{Critical: 6, Default: 3, Low: 1} }

// The kinds of task on the queues.
const (
	JobTask  = "job"  // payload Delivery: run a job
	CronTask = "cron" // payload Tick: open a scheduled function's job
)

// Delivery is the payload of a job's task. Everything else stands in the
// job's record.
type Delivery struct {
	Job    string `json:"job"`
	Number int    `json:"number"` // a job's later deliveries replace its earlier ones
}

// Tick is the payload of a scheduled function's task.
type Tick struct {
	Function string    `json:"function"`
	At       time.Time `json:"at"`
}

// Client delivers. It is safe for concurrent use.
type Client struct {
	asynq     *asynq.Client
	inspector *asynq.Inspector
}

// New returns a Client on a connected Redis client, which it does not close.
func New(rdb redis.UniversalClient) *Client {
	return &Client{asynq: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb)}
}

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

// DeliverTick asks for one run of a scheduled function at an instant. Any
// number of workers may ask; the ID and the retention see to it that one
// task comes of it.
func (c *Client) DeliverTick(ctx context.Context, t Tick) error {
	payload, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode tick: %w", err)
	}
	id := t.Function + "@" + t.At.UTC().Format(time.RFC3339)
	return c.enqueue(ctx, asynq.NewTask(CronTask, payload), asynq.TaskID(id), asynq.Queue(Low),
		asynq.Timeout(time.Minute), asynq.MaxRetry(3), asynq.Retention(time.Hour))
}

func (c *Client) enqueue(ctx context.Context, t *asynq.Task, opts ...asynq.Option) error {
	ctx, cancel := context.WithTimeout(ctx, enqueueTimeout)
	defer cancel()
	_, err := c.asynq.EnqueueContext(ctx, t, opts...)
	if err == nil || errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	return ide.Transient(ide.QueueUnavailable, err, "The queue does not answer.")
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
