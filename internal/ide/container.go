package ide

import (
	"slices"
	"time"
)

// Status is one of the five states of a container.
type Status string

// The five states.
const (
	Starting Status = "starting"
	Running  Status = "running"
	Stopping Status = "stopping"
	Stopped  Status = "stopped"
	Failed   Status = "failed"
)

// Statuses lists the five states in the order of a life.
func Statuses() []Status { return []Status{Starting, Running, Stopping, Stopped, Failed} }

// Live says whether a container in this state holds a reservation and a place
// in its owner's quota.
func (s Status) Live() bool { return s == Starting || s == Running || s == Stopping }

// arrows is the table of legal moves.
//
//	from      to        by
//	starting  running   container-create, container-start: its URLs answer
//	starting  failed    the same: attempts spent, a permanent error, canceled
//	starting  stopping  container-stop: a stop is legal everywhere
//	starting  stopped   container-restore: the generation is not there, so it is as before
//	running   stopping  container-stop
//	stopping  stopped   container-stop: service and secret are gone
//	stopping  failed    container-stop: attempts spent, files that cannot be saved, or what made it stop was an error
//	stopped   starting  container-start: a new run
//	failed    starting  container-start: a new run
//	failed    stopping  container-stop: clean up what a failure left
var arrows = map[Status][]Status{
	Starting: {Running, Failed, Stopping, Stopped},
	Running:  {Stopping, Failed},
	Stopping: {Stopped, Failed},
	Stopped:  {Starting},
	Failed:   {Starting, Stopping},
}

// CanMove says whether from -> to is legal. Repeating a move is.
func CanMove(from, to Status) bool { return from == to || slices.Contains(arrows[from], to) }

// ShutdownReason says why a container went down.
type ShutdownReason string

// The four reasons.
const (
	Inactivity    ShutdownReason = "inactivity"
	Manual        ShutdownReason = "manual"
	ByError       ShutdownReason = "error"
	ResourceLimit ShutdownReason = "resource_limit"
)

// Container is the record of one browser IDE: what was asked for, where it
// is, and what became of it. It holds no secret: those are in Sealed, which
// only SECRET_KEY opens, and which no API answer, label or log shows.
type Container struct {
	ID     string `json:"id"`
	Run    int    `json:"run"`   // counts starts; the fence of rule 6 is the secret <id>-<run>
	Owner  string `json:"owner"` // stable name of the API key that asked for it
	Status Status `json:"status"`

	Image     string            `json:"image"`
	S3        Bucket            `json:"s3"`
	Resources Resources         `json:"resources"`
	Labels    map[string]string `json:"labels,omitempty"`
	URLs      URLs              `json:"urls"`

	Template   string            `json:"template,omitempty"`
	Env        map[string]string `json:"env,omitempty"`        // of the template
	WebCommand string            `json:"webCommand,omitempty"` // starts the user's web server
	Placement  []string          `json:"placement,omitempty"`  // Swarm's placement constraints, beside the node
	Hardening  Hardening         `json:"hardening,omitzero"`   // of the template
	Strategy   string            `json:"strategy,omitempty"`   // Spread or Pack; empty is the server's
	Generic    map[string]int64  `json:"generic,omitempty"`    // other resources that it reserves, by kind
	NoAgent    bool              `json:"noAgent,omitempty"`    // the image has none: nothing is saved
	Credential string            `json:"credential,omitempty"` // whose S3 credentials: "own" or "role"

	IdleTimeout int     `json:"idleTimeout,omitempty"` // seconds without use after which it is stopped; 0 is never
	ActivityCPU float64 `json:"activityCpu,omitempty"` // cores from which its load counts as use; 0 is never

	Node    string `json:"node,omitempty"`    // engine ID of the node it is pinned to
	Address string `json:"address,omitempty"` // IP on the overlay; empty while no task runs

	CreatedAt      time.Time      `json:"createdAt"`
	StartedAt      *time.Time     `json:"startedAt,omitempty"` // this run: URLs answered
	StoppedAt      *time.Time     `json:"stoppedAt,omitempty"`
	ShutdownReason ShutdownReason `json:"shutdownReason,omitempty"`
	Error          *Error         `json:"error,omitempty"` // why it failed
	Health         *Health        `json:"health,omitempty"`
	Watch          Watch          `json:"watch,omitzero"`

	Restored    int        `json:"restored,omitempty"` // the run whose workspace was restored, and may have been edited since
	LastSave    *LastSave  `json:"lastSave,omitempty"`
	Told        string     `json:"told,omitempty"`        // digest of what the latest event said of saves, beside:
	ToldLeftOut string     `json:"toldLeftOut,omitempty"` // of files left out
	Unsaved     bool       `json:"unsaved,omitempty"`     // Node's volume may hold what no bucket has: it must not be removed
	Kept        []string   `json:"kept,omitempty"`        // nodes that were lost with what it had not saved, and on which it ran no more since
	Tries       int        `json:"tries,omitempty"`       // how often the parked files were tried to be saved
	NextTry     *time.Time `json:"nextTry,omitempty"`     // when the sweep tries again

	Webhook string `json:"webhook,omitempty"` // ID of the endpoint that came with its start

	Job    string `json:"job,omitempty"`    // the latest job that changes its state
	Probe  string `json:"probe,omitempty"`  // lets the ready check of this run through the edge while it is starting
	Sealed string `json:"sealed,omitempty"` // sealed Secrets
}

// ServiceName is the name of its Swarm service: one per container, so that
// Swarm itself refuses a second.
func (c Container) ServiceName() string { return "berth-" + c.ID }

// Bucket names the place of a workspace in an S3 store.
type Bucket struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	Prefix string `json:"prefix,omitempty"`
}

// Resources of one container. CPU is in nano-CPUs (1e9 is one core), as in
// the Docker API; memory is in bytes.
type Resources struct {
	CPULimit          int64 `json:"cpuLimit"`
	MemoryLimit       int64 `json:"memoryLimit"`
	CPUReservation    int64 `json:"cpuReservation"`
	MemoryReservation int64 `json:"memoryReservation"`
	PIDs              int64 `json:"pids"`
}

// Port is one of the three doors of a container.
type Port struct {
	Name   string // suffix of its host name: <id>-<name>
	Number uint16
}

// The three ports users reach, and the agent's own.
var (
	PortVNC  = Port{"vnc", 6080}
	PortCode = Port{"code", 8080}
	PortWeb  = Port{"web", 3000}
	Ports    = []Port{PortVNC, PortCode, PortWeb}
)

// AgentPort is where the agent inside a container answers the control plane.
const AgentPort = 9000

// URLs of the three ports.
type URLs struct {
	VNC       string `json:"vnc" example:"https://k3xqh5zt2mwfa-vnc.ide.example.com" doc:"Desktop, in the browser"`
	Code      string `json:"codeServer" example:"https://k3xqh5zt2mwfa-code.ide.example.com" doc:"code-server"`
	WebServer string `json:"webServer" example:"https://k3xqh5zt2mwfa-web.ide.example.com" doc:"The user's own web server"`
}

// MakeURLs returns the URLs of a container under a domain ("host" or
// "host:port").
func MakeURLs(scheme, id, domain string) URLs {
	u := func(p Port) string { return scheme + "://" + id + "-" + p.Name + "." + domain }
	return URLs{VNC: u(PortVNC), Code: u(PortCode), WebServer: u(PortWeb)}
}

// Of returns the URL of a port.
func (u URLs) Of(p Port) string {
	switch p {
	case PortVNC:
		return u.VNC
	case PortCode:
		return u.Code
	default:
		return u.WebServer
	}
}

// Health is what the last probe saw.
type Health struct {
	Status    string    `json:"status" enum:"healthy,unhealthy,starting" doc:"healthy, unhealthy or starting"`
	LastCheck time.Time `json:"lastCheck" doc:"When the container was last probed"`
	Checks    Checks    `json:"checks" doc:"What answered"`
	Failures  int       `json:"failures,omitempty" hidden:"true" doc:"In a row" example:"0"`
}

// Checks says which of the three ports answer. No web server of the user's is
// false but not unhealthy.
type Checks struct {
	CodeServer bool `json:"codeServer" doc:"Whether code-server answers"`
	VNC        bool `json:"vnc" doc:"Whether the desktop answers"`
	WebServer  bool `json:"webServer" doc:"Whether a web server of the user's answers"`
}

// Secrets of one container. They travel sealed and land, as JSON, in the
// Swarm secret <id>-<run>, mounted in the container as SecretFile.
type Secrets struct {
	AgentToken         string `json:"agentToken"`   // bearer token of the agent's port 9000
	VNCPassword        string `json:"vncPassword"`  // 8 characters, the limit of RFB's VncAuth
	CodePassword       string `json:"codePassword"` // code-server's
	AWSAccessKeyID     string `json:"awsAccessKeyId,omitempty"`
	AWSSecretAccessKey string `json:"awsSecretAccessKey,omitempty"`
}

// SecretFile is where a container finds its Secrets (uid 1000, mode 0400).
const SecretFile = "/run/secrets/berth"
