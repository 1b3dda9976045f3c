package ide

import "time"

// Event is something that happened, for people (a container's history) and
// for other processes (routes, waiting clients).
type Event struct {
	ID        string    `json:"id,omitempty"` // place in the stream, "<ms>-<n>"
	Type      string    `json:"type"`         // container.running, job.succeeded …
	At        time.Time `json:"at"`
	Container string    `json:"containerId,omitempty"`
	Owner     string    `json:"owner,omitempty"`
	Job       string    `json:"jobId,omitempty"`
	By        string    `json:"by,omitempty"` // name of a key, or the function that did it
	Message   string    `json:"message,omitempty"`
	Receipt   *Receipt  `json:"receipt,omitempty"` // of what was decided for want of use
	Node      string    `json:"nodeId,omitempty"`
	Log       []string  `json:"log,omitempty"` // the last lines of a program that ended

	// Route is set where the event changes where a container's URLs lead.
	Route *Route `json:"route,omitempty"`
}

// KeyRevoked is the type of the event that an API key, its owner, is no longer
// taken: what the key has open ends with it.
const KeyRevoked = "key.revoked"

// SessionEnded is the type of the event that somebody has signed out: what the
// session, whose ID is the message, has open ends with it.
const SessionEnded = "session.ended"

// Route is all that the edge needs to know of a container.
type Route struct {
	ID      string `json:"id"`
	Status  Status `json:"status"`
	Address string `json:"address,omitempty"` // IP on the overlay
	Probe   string `json:"probe,omitempty"`   // value of ProbeHeader that marks the control plane's own requests
	Gone    bool   `json:"gone,omitempty"`    // the record was dropped
}

// ProbeHeader marks a request of the control plane's own: when its value is the
// Probe of the container's run, a request passes to a container that is still
// starting, and never counts as activity. Any other value says nothing. The
// gateway takes those away; the agent, which Traefik may reach without a
// gateway, looks at the value itself, and hands it on to nobody.
const ProbeHeader = "Berth-Probe"

// NoServerHeader is set by the agent on the 502 it answers on a port behind
// which nothing listens yet (the user's web server, mostly).
const NoServerHeader = "Berth-No-Server"

// Activity is what an edge has seen of a container's traffic since it began.
type Activity struct {
	ID           string    `json:"id"`
	Requests     int64     `json:"requests"`    // since the last report
	Connections  int       `json:"connections"` // open now
	LastActivity time.Time `json:"lastActivity"`
	Web          time.Time `json:"web"` // the last on the web port
}
