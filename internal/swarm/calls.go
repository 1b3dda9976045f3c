package swarm

import (
	"regexp"
	"slices"
	"strings"
)

// Call is a kind of request to the engine that this package makes.
type Call struct {
	Method string
	Path   string // without version; * stands for one part that is an ID or a name, ** for an image
	Via    string // method of Docker's client; the first two are of them all
	For    string
}

// Calls are all of them. The fake engine of package swarmtest refuses others,
// and docs/SECURITY.md shows the list; both are checked by tests.
func Calls() []Call {
	return []Call{
		{"HEAD", "/_ping", "", "API version"},
		{"GET", "/_ping", "", "API version, where HEAD is not answered"},
		{"GET", "/info", "Info", "size of the node and its place in the Swarm"},
		{"GET", "/swarm", "SwarmInspect", "address pools, for berth doctor; how a node joins"},
		{"GET", "/events", "Events", "containers, services and nodes that come and go"},
		{"GET", "/nodes", "NodeList", "nodes of the Swarm"},
		{"GET", "/nodes/*", "NodeInspectWithRaw", "a node's role, labels and availability"},
		{"POST", "/nodes/*/update", "NodeUpdate", "drain, activate, labels, role"},
		{"DELETE", "/nodes/*", "NodeRemove", "a node that has left"},
		{"GET", "/networks", "NetworkList", "subnets, for berth doctor"},
		{"GET", "/networks/*", "NetworkInspect", "the containers' network; who is on the uplink"},
		{"POST", "/networks/create", "NetworkCreate", "the containers' network, where it is missing"},
		{"GET", "/configs", "ConfigList", "records"},
		{"POST", "/configs/create", "ConfigCreate", "records"},
		{"POST", "/configs/*/update", "ConfigUpdate", "records"},
		{"DELETE", "/configs/*", "ConfigRemove", "records"},
		{"GET", "/secrets", "SecretList", "secrets of runs"},
		{"GET", "/secrets/*", "SecretInspectWithRaw", "whether a run was stopped; never what is in it"},
		{"POST", "/secrets/create", "SecretCreate", "secrets of runs"},
		{"DELETE", "/secrets/*", "SecretRemove", "secrets of runs"},
		{"GET", "/services", "ServiceList", "containers"},
		{"GET", "/services/*", "ServiceInspectWithRaw", "what keeps a node from being emptied"},
		{"POST", "/services/create", "ServiceCreate", "start of a container"},
		{"POST", "/services/*/update", "ServiceUpdate", "save of what a stopped container has left"},
		{"DELETE", "/services/*", "ServiceRemove", "stop of a container"},
		{"GET", "/tasks", "TaskList", "states and addresses of containers"},
		{"GET", "/tasks/*/logs", "TaskLogs", "last words of a container that failed"},
		{"GET", "/containers/json", "ContainerList", "containers on this node"},
		{"GET", "/containers/*/json", "ContainerInspect", "why a container ended"},
		{"GET", "/containers/*/logs", "ContainerLogs", "logs of containers"},
		{"GET", "/containers/*/stats", "ContainerStatsOneShot", "use of a container"},
		{"DELETE", "/containers/*", "ContainerRemove", "containers that have ended, whose workspaces were saved"},
		{"GET", "/images/**/json", "ImageInspect", "whether the node has an image"},
		{"GET", "/distribution/**/json", "DistributionInspect", "whether the registry lacks an image, or does not answer"},
		{"POST", "/images/create", "ImagePull", "images for a node, from their registry"},
		{"GET", "/images/get", "ImageSave", "images for another node, where no registry has them"},
		{"POST", "/images/load", "ImageLoad", "images from another node"},
		{"GET", "/volumes", "VolumeList", "workspaces on this node"},
		{"DELETE", "/volumes/*", "VolumeRemove", "workspaces that were saved"},
	}
}

var (
	versioned = regexp.MustCompile(`^/v1\.[0-9]+(/.*)$`)
	part      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	imageRef  = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9_.:@/-]*$`)
)

// Made returns the call that a request is, with or without a version in its
// path; false if it is none.
func Made(method, path string) (Call, bool) {
	if m := versioned.FindStringSubmatch(path); m != nil {
		path = m[1]
	}
	for _, c := range Calls() {
		if c.Method == method && fits(c.Path, path) {
			return c, true
		}
	}
	return Call{}, false
}

func fits(pattern, path string) bool {
	if before, after, ok := strings.Cut(pattern, "**"); ok {
		image, found := strings.CutPrefix(path, before)
		image, ends := strings.CutSuffix(image, after)
		return found && ends && imageRef.MatchString(image) && !slices.ContainsFunc(strings.Split(image, "/"), func(p string) bool { return p == "" || strings.Trim(p, ".") == "" })
	}
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i, w := range want {
		if w == "*" && !part.MatchString(got[i]) || w != "*" && w != got[i] {
			return false
		}
	}
	return true
}
