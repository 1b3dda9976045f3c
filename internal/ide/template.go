package ide

import "slices"

// LeastMemory is the smallest memory limit of a container, in bytes.
const LeastMemory = 64 << 20

// DefaultTemplate is the name of the one that a request gets which names none.
const DefaultTemplate = "default"

// Placement says where a container may run.
type Placement struct {
	Constraints []string `json:"constraints,omitempty" yaml:"constraints" maxItems:"16" example:"[\"node.labels.gpu==true\"]" doc:"Conditions on the node's labels, with == or !=, all of which must hold; those of the template do, too"`
	Strategy    string   `json:"strategy,omitempty" yaml:"strategy" enum:"spread,pack" example:"pack" doc:"spread takes the emptiest node that fits, pack the fullest; the template's, or else the server's, if missing"`
	Generic     []string `json:"generic,omitempty" yaml:"generic" maxItems:"16" example:"[\"gpu=1\"]" doc:"Other resources that it reserves, of those that nodes announce, as KIND=NUMBER"`
}

// Template is something that can be started by its name.
type Template struct {
	Name        string            `json:"name" example:"python"`
	Description string            `json:"description,omitempty"`
	Image       string            `json:"image"`
	CPULimit    int64             `json:"-"` // nano-CPUs; 0 is the server's default
	MemoryLimit int64             `json:"-"` // bytes; 0 is the server's default
	WebCommand  string            `json:"webCommand,omitempty" doc:"Starts the user's web server on port 3000"`
	Placement   Placement         `json:"placement,omitzero" doc:"Where it may run"`
	Env         map[string]string `json:"env,omitempty"`
	Hardening   Hardening         `json:"hardening,omitzero"`
	NoAgent     bool              `json:"noAgent,omitempty" doc:"The image has no agent: nothing is restored or saved"`
}

// Hardening is what an image bears of less than a container has by default,
// and what it needs beyond: by default a container has no capabilities and may
// write its image.
type Hardening struct {
	ReadOnly     bool     `json:"readOnly,omitempty" doc:"The image cannot be written, but for tmpfs and the workspace"`
	Tmpfs        []string `json:"tmpfs,omitempty" doc:"Folders in memory, which counts as the container's"`
	Capabilities []string `json:"capabilities,omitempty" doc:"Capabilities that programs of the image need"`
	PIDs         int64    `json:"pids,omitempty" doc:"Processes and threads, where that is not the server's number"`
}

// GrantableCapabilities are those that a template may give: of the engine's own
// default set all but NET_RAW, which can speak for others on the containers'
// network, MKNOD and AUDIT_WRITE.
func GrantableCapabilities() []string {
	return []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
}

// Grantable says whether a template may give a capability.
func Grantable(name string) bool { return slices.Contains(GrantableCapabilities(), name) }
