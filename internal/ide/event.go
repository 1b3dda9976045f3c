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

	// Route is set where the event changes where a container's URLs lead.
	Route *Route `json:"route,omitempty"`
}

// Route is all that the edge needs to know of a container.
type Route struct {
	ID      string `json:"id"`
	Status  Status `json:"status"`
	Address string `json:"address,omitempty"` // IP on the overlay
	Probe   string `json:"probe,omitempty"`   // value of ProbeHeader that marks the control plane's own requests
	Gone    bool   `json:"gone,omitempty"`    // the record was dropped
}

// ProbeHeader marks a request of the control plane's own: it passes to a
// container that is still starting when its value is the route's Probe, never
// counts as activity, and is not handed on to the container.
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
}
