// Package deploy_test checks the files that people deploy: compose.yaml with
// what store/ adds to it, and stack.yaml.
package deploy_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// file is the part of a compose file that the rules are about.
type file struct {
	Services map[string]service `yaml:"services"`
	Networks map[string]struct {
		External bool   `yaml:"external"`
		Name     string `yaml:"name"`
	} `yaml:"networks"`
	Secrets map[string]any `yaml:"secrets"`
}

type service struct {
	Image       string      `yaml:"image"`
	Command     words       `yaml:"command"`
	User        string      `yaml:"user"`
	Environment environment `yaml:"environment"`
	Secrets     []secret    `yaml:"secrets"`
	Volumes     []struct {
		Type   string `yaml:"type"`
		Source string `yaml:"source"`
		Target string `yaml:"target"`
	} `yaml:"volumes"`
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	Networks    []string `yaml:"networks"`
	Ports       []port   `yaml:"ports"`
	Healthcheck struct {
		Test    words `yaml:"test"`
		Disable bool  `yaml:"disable"`
	} `yaml:"healthcheck"`
	StopGracePeriod string `yaml:"stop_grace_period"`
	Logging         struct {
		Options map[string]string `yaml:"options"`
	} `yaml:"logging"`
	Deploy struct {
		Labels       map[string]string `yaml:"labels"`
		Mode         string            `yaml:"mode"`
		EndpointMode string            `yaml:"endpoint_mode"`
		Replicas     int               `yaml:"replicas"`
		Resources    struct {
			Limits       map[string]any `yaml:"limits"`
			Reservations map[string]any `yaml:"reservations"`
		} `yaml:"resources"`
		RestartPolicy struct {
			Condition string `yaml:"condition"`
		} `yaml:"restart_policy"`
		UpdateConfig struct {
			Order string `yaml:"order"`
		} `yaml:"update_config"`
	} `yaml:"deploy"`
}

type secret struct {
	Source string `yaml:"source"`
	Target string `yaml:"target"`
	Mode   int    `yaml:"mode"`
	UID    string `yaml:"uid"`
}

type port struct {
	Mode string `yaml:"mode"`
}

// words is a list that may be written as one string.
type words []string

func (w *words) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*w = strings.Fields(n.Value)
		return nil
	}
	return n.Decode((*[]string)(w))
}

// environment is a map that may be written as a list of NAME=value.
type environment map[string]string

func (e *environment) UnmarshalYAML(n *yaml.Node) error {
	*e = environment{}
	if n.Kind != yaml.SequenceNode {
		return n.Decode((*map[string]string)(e))
	}
	var list []string
	if err := n.Decode(&list); err != nil {
		return err
	}
	for _, v := range list {
		name, value, _ := strings.Cut(v, "=")
		(*e)[name] = value
	}
	return nil
}

// ours says whether a service runs the berth program.
func (s service) ours() bool { return strings.Contains(s.Image, "BERTH_IMAGE") }

// role is the berth command that a service runs.
func (s service) role() string {
	if !s.ours() || len(s.Command) == 0 {
		return ""
	}
	return s.Command[0]
}

func (s service) hasEngine() bool {
	for _, v := range s.Volumes {
		if v.Target == "/var/run/docker.sock" || strings.HasSuffix(v.Source, ".sock") {
			return true
		}
	}
	return false
}

// read parses the files. The store's adds to compose.yaml, and is read so.
func read(t *testing.T) map[string]file {
	t.Helper()
	files := map[string]file{}
	for _, name := range []string{"../compose.yaml", "stack.yaml", "store/compose.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f file
		if err := yaml.Unmarshal(text, &f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files[strings.TrimPrefix(name, "../")] = f
	}
	store := files["store/compose.yaml"].Services
	maps.Copy(files["compose.yaml"].Services["up"].Environment, store["up"].Environment)
	delete(store, "up")
	return files
}

// each runs a check on every service of all files.
func each(t *testing.T, check func(t *testing.T, f file, s service)) {
	t.Parallel()
	for name, f := range read(t) {
		for key, s := range f.Services {
			t.Run(name+"/"+key, func(t *testing.T) { check(t, f, s) })
		}
	}
}

var (
	pinned   = regexp.MustCompile(`^[a-z0-9./_-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*$`)
	demanded = regexp.MustCompile(`^\$\{[A-Z_]+:\?[^}]+\}$`) // of the operator, with a word on what it is
)

func TestImagesArePinned(t *testing.T) {
	each(t, func(t *testing.T, _ file, s service) {
		if !pinned.MatchString(s.Image) && !demanded.MatchString(s.Image) {
			t.Errorf("image %q has neither a whole version as tag nor is it demanded of the operator", s.Image)
		}
	})
}

func TestEngineSocketIsOnlyWhereItIsNeeded(t *testing.T) {
	may := []string{"up", "worker"}
	each(t, func(t *testing.T, _ file, s service) {
		traefik := strings.HasPrefix(s.Image, "traefik:")
		if s.hasEngine() && !traefik && !slices.Contains(may, s.role()) {
			t.Errorf("%v has the engine's socket", s.Command)
		}
		if slices.Contains(may, s.role()) && !s.hasEngine() {
			t.Errorf("%v has no engine", s.Command)
		}
		if ports := traefik && slices.Equal(s.CapAdd, []string{"NET_BIND_SERVICE"}); len(s.CapAdd) > 0 && !ports && !slices.Contains(may, s.role()) {
			t.Errorf("%v has the capabilities %v", s.Command, s.CapAdd)
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") {
			t.Errorf("%v can write its image, or keeps capabilities it does not ask for", s.Command)
		}
		if s.ours() && !s.hasEngine() && s.User == "" {
			t.Errorf("%v runs as root without need", s.Command)
		}
	})
}

// The isolation filter accepts connections to containers from tasks of
// services with this label alone: too few, and nothing is reached; too many,
// and something else reaches every container.
func TestEdgesAreLabeled(t *testing.T) {
	each(t, func(t *testing.T, f file, s service) {
		edge := slices.Contains([]string{"up", "gateway", "worker"}, s.role()) || strings.HasPrefix(s.Image, "traefik:")
		onOverlay := slices.ContainsFunc(s.Networks, func(n string) bool { return f.Networks[n].Name == "ide-network" })
		if got := s.Deploy.Labels["berth.edge"] == "true"; got != edge {
			t.Errorf("label berth.edge: got %t, want %t", got, edge)
		}
		if onOverlay != edge {
			t.Errorf("on ide-network: got %t, want %t", onOverlay, edge)
		}
		if s.role() == "worker" && s.Deploy.Mode != "global" {
			t.Error("the worker keeps the filter of its node, so it runs on every node")
		}
	})
}

// secretNames are variables and settings that hold secrets.
var secretNames = regexp.MustCompile(`(?i)(KEYS?|TOKEN|PASS(WORD)?|SECRET|REDIS_URL)$`)

func TestSecretsAreFiles(t *testing.T) {
	each(t, func(t *testing.T, f file, s service) {
		for name, value := range s.Environment {
			plain, isFile := strings.CutSuffix(name, "_FILE")
			if secretNames.MatchString(name) {
				t.Errorf("%s stands in the environment, which docker inspect shows", name)
			}
			if isFile && secretNames.MatchString(plain) {
				source := strings.TrimPrefix(value, "/run/secrets/")
				if !slices.ContainsFunc(s.Secrets, func(m secret) bool { return m.Target == source }) {
					t.Errorf("%s names %s, which no secret is mounted as", name, value)
				}
			}
		}
		for _, m := range s.Secrets {
			if _, ok := f.Secrets[m.Source]; !ok {
				t.Errorf("secret %s is not declared", m.Source)
			}
			if m.Mode != 0o400 {
				t.Errorf("secret %s has mode %o, want 400", m.Source, m.Mode)
			}
			if user, _, _ := strings.Cut(s.User, ":"); s.ours() && cmp.Or(m.UID, "0") != cmp.Or(user, "0") {
				t.Errorf("secret %s belongs to user %q, the process is user %q: it cannot read it", m.Source, m.UID, s.User)
			}
		}
		for _, word := range s.Command {
			if strings.Contains(word, "requirepass") || strings.Contains(word, "redis://") {
				t.Errorf("a password among the arguments: %s", word)
			}
		}
	})
}

// The API alone knows its keys, and the gateway, which strangers talk to, no
// key at all.
func TestKeysAreWhereTheyAreNeeded(t *testing.T) {
	may := map[string][]string{"api_key": {"up", "api"}, "secret_key": {"up", "api", "worker"}}
	each(t, func(t *testing.T, _ file, s service) {
		for key, roles := range may {
			has := slices.ContainsFunc(s.Secrets, func(m secret) bool { return m.Source == key })
			if want := slices.Contains(roles, s.role()); has != want {
				t.Errorf("has %s: %t, want %t", key, has, want)
			}
		}
	})
}

func TestVariablesExist(t *testing.T) {
	known := variables(t)
	each(t, func(t *testing.T, _ file, s service) {
		if !s.ours() {
			return
		}
		for name := range s.Environment {
			plain, _ := strings.CutSuffix(name, "_FILE")
			if !slices.Contains(known, plain) {
				t.Errorf("config.go reads no %s", name)
			}
		}
	})
}

// variables are the names in the env tags of config.go.
func variables(t *testing.T) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "../config.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		f, ok := n.(*ast.Field)
		if ok && f.Tag != nil {
			name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("env"), ",")
			names = append(names, name)
		}
		return true
	})
	if !slices.Contains(names, "API_KEY") {
		t.Fatalf("config.go: found only the variables %v", names)
	}
	return names
}

// What keeps a service going, and a node's disk from filling.
func TestServicesAreKept(t *testing.T) {
	each(t, func(t *testing.T, _ file, s service) {
		for what, ok := range map[string]bool{
			"a health check":                len(s.Healthcheck.Test) > 0 || s.Healthcheck.Disable && s.role() == "worker",
			"a memory limit":                s.Deploy.Resources.Limits["memory"] != nil,
			"a reservation":                 s.Deploy.Resources.Reservations["memory"] != nil,
			"log rotation":                  s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != "",
			"a restart policy":              s.Deploy.RestartPolicy.Condition == "any",
			"an order of updates":           s.Deploy.UpdateConfig.Order != "",
			"a stop grace period":           s.StopGracePeriod != "",
			"dnsrr, which needs no IPVS":    s.Deploy.EndpointMode == "dnsrr",
			"stop-first with a host port":   len(s.Ports) == 0 || s.Deploy.UpdateConfig.Order == "stop-first",
			"start-first where two may be":  s.role() != "api" && s.role() != "gateway" || s.Deploy.UpdateConfig.Order == "start-first" && s.Deploy.Replicas == 2,
			"host mode, to know the caller": !slices.ContainsFunc(s.Ports, func(p port) bool { return p.Mode != "host" }),
		} {
			if !ok {
				t.Errorf("%s: missing", what)
			}
		}
	})
}
