// Package templates reads what can be started by name.
package templates

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"berth/internal/ide"

	"github.com/docker/go-units"
	"go.yaml.in/yaml/v3"
)

// builtIn are the templates of a server that names none. Their images are made
// by deploy/ide/build.
//
//go:embed templates.yaml
var builtIn []byte

// templateText is a template as the file has it.
type templateText struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Image       string `yaml:"image"` // empty is IMAGE
	Resources   struct {
		CPULimit    float64 `yaml:"cpuLimit"`
		MemoryLimit string  `yaml:"memoryLimit"`
		PIDs        int64   `yaml:"pids"` // 0 is the server's number
	} `yaml:"resources"`
	WebCommand string            `yaml:"webCommand"`
	Placement  ide.Placement     `yaml:"placement"`
	Env        map[string]string `yaml:"env"`
	Agent      *bool             `yaml:"agent"` // false: the image has none

	ReadOnly     bool     `yaml:"readOnly"`     // the image cannot be written, but for tmpfs and the workspace
	Tmpfs        []string `yaml:"tmpfs"`        // folders in memory; with readOnly and none named /tmp and /run
	Capabilities []string `yaml:"capabilities"` // that programs of the image need; all others are dropped
}

// Read reads a file of templates, or the built-in ones. Where none is
// called default, one is added that runs IMAGE.
func Read(name, image string) ([]ide.Template, error) {
	text := builtIn
	if name != "" {
		var err error
		if text, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("TEMPLATES: %w", err)
		}
	}
	list, err := parse(text, image)
	if err != nil {
		return nil, fmt.Errorf("TEMPLATES: %w", err)
	}
	for _, t := range list {
		if t.Name == ide.DefaultTemplate {
			return list, nil
		}
	}
	return append([]ide.Template{{Name: ide.DefaultTemplate, Image: image}}, list...), nil
}

var (
	templateName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	envName      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
)

func parse(text []byte, image string) ([]ide.Template, error) {
	var file struct {
		Templates []templateText `yaml:"templates"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	list := make([]ide.Template, 0, len(file.Templates))
	for i, in := range file.Templates {
		if !templateName.MatchString(in.Name) || seen[in.Name] {
			return nil, fmt.Errorf("template %d: the name %q is not lower-case letters, digits and hyphens, or stands there twice", i+1, in.Name)
		}
		seen[in.Name] = true
		t, err := in.template(image)
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", in.Name, err)
		}
		list = append(list, t)
	}
	return list, nil
}

func (in templateText) template(image string) (ide.Template, error) {
	t := ide.Template{
		Name: in.Name, Description: in.Description, Image: in.Image, CPULimit: int64(in.Resources.CPULimit * 1e9),
		WebCommand: in.WebCommand, Placement: in.Placement, Env: in.Env, NoAgent: in.Agent != nil && !*in.Agent,
	}
	if t.Image == "" {
		t.Image = image
	}
	if t.CPULimit < 0 {
		return t, errors.New("cpuLimit is negative")
	}
	if in.Resources.MemoryLimit != "" {
		n, err := units.RAMInBytes(in.Resources.MemoryLimit)
		if err != nil || n < ide.LeastMemory {
			return t, fmt.Errorf("memoryLimit is %q; it is a number of bytes with k, m or g, at least 64m", in.Resources.MemoryLimit)
		}
		t.MemoryLimit = n
	}
	var err error
	if t.Hardening, err = in.hardening(); err != nil {
		return t, err
	}
	for k := range in.Env {
		if ok, _ := path.Match("BERTH_*", k); ok || !envName.MatchString(k) {
			return t, fmt.Errorf("env: %q cannot be set", k)
		}
	}
	return t, checkPlacement(in.Placement)
}

func checkPlacement(p ide.Placement) error {
	for _, text := range p.Constraints {
		if _, ok := ide.ParseConstraint(text); !ok {
			return fmt.Errorf("placement: %q is no constraint, as in node.labels.disk == ssd", text)
		}
	}
	if !slices.Contains([]string{"", ide.Spread, ide.Pack}, p.Strategy) {
		return fmt.Errorf("placement: strategy is %q; it can be spread or pack", p.Strategy)
	}
	for _, text := range p.Generic {
		if _, n, ok := ide.ParseGeneric(text); !ok || n < 1 {
			return fmt.Errorf("placement: generic %q is not KIND=NUMBER, as in gpu=1", text)
		}
	}
	return nil
}

// hardening checks what a template says of it.
func (in templateText) hardening() (ide.Hardening, error) {
	h := ide.Hardening{ReadOnly: in.ReadOnly, Tmpfs: in.Tmpfs, Capabilities: in.Capabilities, PIDs: in.Resources.PIDs}
	if h.ReadOnly && len(h.Tmpfs) == 0 {
		h.Tmpfs = []string{"/tmp", "/run"}
	}
	if h.PIDs < 0 {
		return h, errors.New("pids is negative")
	}
	for _, p := range h.Tmpfs {
		if path.Clean(p) != p || !path.IsAbs(p) || p == "/" || p == ide.HomeDir || strings.HasPrefix(p+"/", ide.WorkspaceDir+"/") || strings.HasPrefix(p+"/", ide.HomeDir+"/.berth/") {
			return h, fmt.Errorf("tmpfs: %q must be an absolute path, and must not be /, %s, %s or below that", p, ide.HomeDir, ide.WorkspaceDir)
		}
	}
	for _, c := range h.Capabilities {
		if !ide.Grantable(c) {
			return h, fmt.Errorf("capabilities: %q cannot be given; these can: %s", c, strings.Join(ide.GrantableCapabilities(), ", "))
		}
	}
	return h, nil
}
