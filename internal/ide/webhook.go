package ide

import (
	"slices"
	"strings"
	"time"
)

// Webhook is an endpoint that is told of events: a standing one of a key, or
// one that came with the start of a container and hears of that one only.
type Webhook struct {
	ID        string        `json:"id"`
	Owner     string        `json:"owner"`               // stable name of the API key that asked for it
	All       bool          `json:"all,omitempty"`       // an admin's: it hears of everybody's, and of nodes
	Container string        `json:"container,omitempty"` // the one that it came with; empty is a standing one
	URL       string        `json:"url"`
	Events    []string      `json:"events"` // none is every type
	CreatedAt time.Time     `json:"createdAt"`
	Secrets   []HookSecret  `json:"secrets"` // the first is the present one
	State     *WebhookState `json:"-"`       // as it is read; not part of the record
}

// HookSecret is one secret that an endpoint's deliveries are signed with.
type HookSecret struct {
	Sealed string     `json:"sealed"`
	Until  *time.Time `json:"until,omitempty"` // set once it was replaced
}

// WebhookState is how an endpoint does.
type WebhookState struct {
	Waiting       int        // deliveries that are not done
	Dropped       int        // events it was not told of because too many were waiting
	Failures      int        // attempts in a row
	FailingSince  *time.Time // first of them
	LastDelivered *time.Time
	DisabledAt    *time.Time
	Disabled      string // why; empty is enabled
}

// The types of event that webhooks tell of.
const (
	TypeNodeDown     = "node.down"
	TypeNodeUp       = "node.up"
	TypeNodePressure = "node.pressure"
	TypeNodeFailing  = "node.failing"
)

// WebhookTypes lists the types of event that webhooks tell of.
func WebhookTypes() []string {
	return []string{
		"container.starting", "container.running", "container.stopping", "container.stopped", "container.failed", "container.idle_warning",
		"job.succeeded", "job.failed", TypeNodeDown, TypeNodeUp, TypeNodePressure, TypeNodeFailing,
	}
}

// IsWebhookType says whether webhooks tell of a type.
func IsWebhookType(t string) bool { return slices.Contains(WebhookTypes(), t) }

// Payload is the body of a delivery. It holds no secret, and nothing of how
// the control plane works inside.
type Payload struct {
	Type      string      `json:"type" example:"container.running" doc:"What happened"`
	Timestamp time.Time   `json:"timestamp" doc:"When it happened"`
	Data      PayloadData `json:"data" doc:"What it happened to"`
}

// PayloadData is what an event is about: a container, a job, or a node.
type PayloadData struct {
	Container *HookContainer `json:"container,omitempty" doc:"Of events about a container"`
	Job       *HookJob       `json:"job,omitempty" doc:"Of events about a job"`
	Node      *HookNode      `json:"node,omitempty" doc:"Of events about a node"`
	Message   string         `json:"message,omitempty" doc:"What happened, for people" example:"The URLs answer."`
	By        string         `json:"by,omitempty" doc:"Name of an API key, or the function that did it" example:"course-1"`
}

// HookContainer is a container as it was when the event happened.
type HookContainer struct {
	ID             string            `json:"id" example:"k3xqh5zt2mwfa" doc:"The container"`
	Status         Status            `json:"status" enum:"starting,running,stopping,stopped,failed" doc:"Its state"`
	Owner          string            `json:"owner" doc:"Name of the API key that started it" example:"course-1"`
	URLs           URLs              `json:"urls" doc:"Where it answers while it runs"`
	S3Bucket       string            `json:"s3Bucket" example:"alice-workspace" doc:"Bucket of the workspace"`
	S3Prefix       string            `json:"s3Prefix,omitempty" example:"course-1/alice" doc:"Folder in the bucket"`
	Labels         map[string]string `json:"labels,omitempty" doc:"As given with the start"`
	Node           string            `json:"node,omitempty" doc:"Engine ID of its node" example:"x8vlm0vmpo1jg5yk4zo2dgpyh"`
	CreatedAt      time.Time         `json:"createdAt" doc:"When it was first asked for"`
	StartedAt      *time.Time        `json:"startedAt,omitempty" doc:"When it last became running"`
	StoppedAt      *time.Time        `json:"stoppedAt,omitempty" doc:"When it was stopped"`
	ShutdownReason ShutdownReason    `json:"shutdownReason,omitempty" enum:"inactivity,manual,error,resource_limit" doc:"Why it does not run"`
	Error          *Error            `json:"error,omitempty" doc:"Why it failed"`
	Unsaved        bool              `json:"unsaved,omitempty" doc:"Its node holds files that could not be saved"`
	Job            string            `json:"jobId,omitempty" doc:"The latest job that changed its state" example:"container-create:k3xqh5zt2mwfa:1"`
}

// HookJob is a job that has ended.
type HookJob struct {
	ID         string     `json:"id" example:"container-create:k3xqh5zt2mwfa:1" doc:"function:container:number"`
	Function   string     `json:"function" example:"container-create" doc:"What was done"`
	Container  string     `json:"containerId,omitempty" example:"k3xqh5zt2mwfa" doc:"What it was done to"`
	Owner      string     `json:"owner,omitempty" doc:"Name of the API key that asked for it" example:"course-1"`
	Status     JobStatus  `json:"status" enum:"succeeded,failed" doc:"How it ended"`
	Attempt    int        `json:"attempt" doc:"How often it began" example:"1"`
	QueuedAt   time.Time  `json:"queuedAt" doc:"When it was asked for"`
	FinishedAt *time.Time `json:"finishedAt,omitempty" doc:"When it ended"`
	Error      *Error     `json:"error,omitempty" doc:"Why it failed"`
}

// HookNode is a node of the Swarm.
type HookNode struct {
	ID           string `json:"id" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"Engine ID"`
	Hostname     string `json:"hostname" example:"node-1" doc:"Its name"`
	State        string `json:"state" example:"down" doc:"What Swarm says of it"`
	Availability string `json:"availability" example:"active" doc:"Whether tasks may be put on it"`

	Pressure []string `json:"pressure,omitempty" example:"[\"memory\"]" doc:"Of node.pressure: what it is short of (cpu, memory, disk); missing once that is over"`
}

// PayloadOfContainer is what webhooks tell of an event about a container.
func PayloadOfContainer(e Event, c Container) Payload {
	return Payload{Type: e.Type, Timestamp: e.At, Data: PayloadData{Message: e.Message, By: e.By, Container: &HookContainer{
		ID: c.ID, Status: c.Status, Owner: c.Owner, URLs: c.URLs, S3Bucket: c.S3.Name, S3Prefix: c.S3.Prefix, Labels: c.Labels, Node: c.Node,
		CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, StoppedAt: c.StoppedAt, ShutdownReason: c.ShutdownReason, Error: c.Error, Unsaved: c.Unsaved, Job: c.Job,
	}}}
}

// PayloadOfJob is what webhooks tell of the end of a job.
func PayloadOfJob(e Event, j Job) Payload {
	return Payload{Type: e.Type, Timestamp: e.At, Data: PayloadData{Message: e.Message, By: e.By, Job: &HookJob{
		ID: j.ID, Function: j.Function, Container: j.Container, Owner: j.Owner, Status: j.Status, Attempt: j.Attempt,
		QueuedAt: j.QueuedAt, FinishedAt: j.FinishedAt, Error: j.Error,
	}}}
}

// PayloadOfNode is what webhooks tell of an event about a node.
func PayloadOfNode(e Event, n Node) Payload {
	return Payload{Type: e.Type, Timestamp: e.At, Data: PayloadData{Message: e.Message, By: e.By, Node: &HookNode{
		ID: n.ID, Hostname: n.Hostname, State: n.State, Availability: n.Availability,
	}}}
}

// DeliveryStatus is the state of a delivery.
type DeliveryStatus string

// The states of a delivery.
const (
	DeliveryWaiting   DeliveryStatus = "waiting"   // for its first attempt or the next
	DeliveryDelivered DeliveryStatus = "delivered" // a 2xx within the time
	DeliveryFailed    DeliveryStatus = "failed"    // given up
)

// Delivery is one event on its way to one endpoint. Its ID is the event's
// place in the stream, the same at every endpoint.
type Delivery struct {
	ID       string         `json:"-"`
	Webhook  string         `json:"-"`
	Type     string         `json:"-"`
	Status   DeliveryStatus `json:"-"`
	Body     string         `json:"-"` // JSON of a Payload
	At       time.Time      `json:"-"`
	Next     *time.Time     `json:"-"` // when it is tried again, while waiting
	Attempts []Attempt      `json:"attempts"`
	Count    int            `json:"count"` // of attempts, also those no longer kept
}

// Attempt is one try to deliver.
type Attempt struct {
	At      time.Time `json:"at" doc:"When"`
	Status  int       `json:"status,omitempty" doc:"HTTP status of the answer; missing if there was none" example:"503"`
	Seconds float64   `json:"seconds" doc:"Until the answer, or until it was given up" example:"0.12"`
	Answer  string    `json:"answer,omitempty" doc:"The first 1 KiB of the answer's body" example:"try later"`
	Error   string    `json:"error,omitempty" doc:"Why there was no answer, or what was wrong with it" example:"There was no answer within 15 seconds."`
}

// MessageID is the webhook-id header of a delivery: the same for every
// attempt, by which a receiver knows what it has seen.
func (d Delivery) MessageID() string { return "msg_" + strings.ReplaceAll(d.ID, "-", "_") }
