package ide

// Look is what a container has found of one target when it looked out for
// berth doctor isolation: the agent prints one for each, as a line of JSON.
type Look struct {
	Target  string `json:"target"` // as it was given: host:port, with the host "uplink" for the container's own gateway, or a file
	Reached bool   `json:"reached"`
	Said    string `json:"said,omitempty"` // why not
}

// Confinement is what a container has found of itself.
type Confinement struct {
	UID          int      `json:"uid"`
	Capabilities string   `json:"capabilities"` // of all sets together, in hexadecimal
	NoNew        bool     `json:"noNewPrivileges"`
	Seccomp      int      `json:"seccomp"`  // 2 is a filter
	PIDs         string   `json:"pids"`     // the limit; "max" is none
	Memory       string   `json:"memory"`   // likewise, bytes
	Mounts       []string `json:"mounts"`   // where something of the host's is, beside what each container has
	Writable     bool     `json:"writable"` // the image
}

// Names of the agent's subcommand for it.
const (
	LookCommand   = "look"   // look TARGET...: print Looks and a Confinement, and end
	LookListen    = "listen" // look listen: answer on AgentPort for LookListening
	LookListening = 5 * 60   // seconds
)
