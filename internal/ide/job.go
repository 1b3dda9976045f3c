package ide

import "time"

// JobStatus is the state of a job.
type JobStatus string

// The states of a job. The first three are open.
const (
	JobQueued    JobStatus = "queued"
	JobRunning   JobStatus = "running"
	JobRetrying  JobStatus = "retrying"
	JobSucceeded JobStatus = "succeeded"
	JobFailed    JobStatus = "failed"
	JobCanceled  JobStatus = "canceled"
)

// JobStatuses lists the states of a job.
func JobStatuses() []JobStatus {
	return []JobStatus{JobQueued, JobRunning, JobRetrying, JobSucceeded, JobFailed, JobCanceled}
}

// Ended says whether the job is over.
func (s JobStatus) Ended() bool { return s == JobSucceeded || s == JobFailed || s == JobCanceled }

// Job is one intention: a function with its target, and how far it has come.
type Job struct {
	ID            string         `json:"id" example:"container-create:k3xqh5zt2mwfa:1" doc:"function:container:number"`
	Function      string         `json:"function" example:"container-create" doc:"What is done"`
	Container     string         `json:"containerId,omitempty" example:"k3xqh5zt2mwfa" doc:"What it is done to"`
	Node          string         `json:"nodeId,omitempty" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"The node it is about, by its engine ID"`
	Owner         string         `json:"owner,omitempty" doc:"Name of the API key that asked for it" example:"course-1"`
	Status        JobStatus      `json:"status" enum:"queued,running,retrying,succeeded,failed,canceled" doc:"queued, running and retrying are open; the others are its end"`
	Attempt       int            `json:"attempt" doc:"How often it has begun" example:"1"`
	MaxAttempts   int            `json:"maxAttempts" example:"12" doc:"How often it may begin"`
	Instant       *time.Time     `json:"instant,omitempty" doc:"The instant of its schedule that it is of"`
	QueuedAt      time.Time      `json:"queuedAt" doc:"When it was asked for"`
	StartedAt     *time.Time     `json:"startedAt" doc:"When it first began"`
	FinishedAt    *time.Time     `json:"finishedAt" doc:"When it ended"`
	NextAttemptAt *time.Time     `json:"nextAttemptAt" doc:"When it is tried again, while retrying"`
	Steps         []Step         `json:"steps" doc:"Its timeline, over all attempts"`
	Error         *Error         `json:"error" doc:"Why it failed, or why the last attempt did"`
	Result        map[string]any `json:"result" nullable:"true" doc:"What it has found, by function"`
	Items         []Item         `json:"items,omitempty" doc:"Of a job about several containers: what has become of each, in the order that was asked for"`
	Trace         string         `json:"trace,omitempty" example:"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" doc:"W3C trace context of the request that asked for it, where the server keeps traces"`
}

// Item is what has become of one of several containers that a job is about.
type Item struct {
	ID     string    `json:"id" example:"k3xqh5zt2mwfa" doc:"The container"`
	Job    string    `json:"jobId,omitempty" example:"container-stop:k3xqh5zt2mwfa:2" doc:"The job that does it; missing where it was refused, or there was nothing to do"`
	Status JobStatus `json:"status" enum:"queued,running,retrying,succeeded,failed,canceled" doc:"How far it is"`
	Error  *Error    `json:"error,omitempty" doc:"Why it failed"`
}

// StepStatus is the state of one step.
type StepStatus string

// The states of a step.
const (
	StepRunning StepStatus = "running"
	StepDone    StepStatus = "done"
	StepFailed  StepStatus = "failed"
)

// Step is one named, timed part of a job's run.
type Step struct {
	Name      string     `json:"name" example:"service" doc:"What the step does; queue is the wait for a worker"`
	Status    StepStatus `json:"status" enum:"running,done,failed" doc:"How far it is"`
	Attempt   int        `json:"attempt" example:"1" doc:"In which attempt it ran"`
	StartedAt time.Time  `json:"startedAt" doc:"When it began"`
	Seconds   float64    `json:"seconds,omitempty" doc:"How long it took, once it is over" example:"0.031"`
	Message   string     `json:"message,omitempty" doc:"How far it is, or why it failed" example:"The task is preparing."`
}
