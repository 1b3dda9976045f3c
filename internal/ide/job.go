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
	Function      string         `json:"function" example:"container-create"`
	Container     string         `json:"containerId,omitempty" example:"k3xqh5zt2mwfa"`
	Owner         string         `json:"owner,omitempty" doc:"Name of the API key that asked for it"`
	Status        JobStatus      `json:"status" enum:"queued,running,retrying,succeeded,failed,canceled"`
	Attempt       int            `json:"attempt" doc:"How often it has begun"`
	MaxAttempts   int            `json:"maxAttempts"`
	QueuedAt      time.Time      `json:"queuedAt"`
	StartedAt     *time.Time     `json:"startedAt" doc:"When it first began"`
	FinishedAt    *time.Time     `json:"finishedAt"`
	NextAttemptAt *time.Time     `json:"nextAttemptAt" doc:"When it is tried again, while retrying"`
	Steps         []Step         `json:"steps" doc:"Its timeline, over all attempts"`
	Error         *Error         `json:"error" doc:"Why it failed, or why the last attempt did"`
	Result        map[string]any `json:"result"`
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
	Name      string     `json:"name" example:"service"`
	Status    StepStatus `json:"status" enum:"running,done,failed"`
	Attempt   int        `json:"attempt"`
	StartedAt time.Time  `json:"startedAt"`
	Seconds   float64    `json:"seconds,omitempty" doc:"How long it took, once it is over"`
	Message   string     `json:"message,omitempty" doc:"How far it is, or why it failed"`
}
