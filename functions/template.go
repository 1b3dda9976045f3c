package functions

import (
	"fmt"
	"path"

	"berth/internal/ide"

	"github.com/docker/go-units"
)

// template returns one of the operator's.
func (s Settings) template(name string) (ide.Template, error) {
	if name == "" {
		name = ide.DefaultTemplate
	}
	for _, t := range s.Templates {
		if t.Name == name {
			return t, nil
		}
	}
	return ide.Template{}, invalid("body.template", "template must be one that GET /api/templates lists")
}

// image returns the image to run for one that was asked for.
func (s Settings) image(asked string, t ide.Template) (string, error) {
	if asked == "" || asked == t.Image {
		return t.Image, nil
	}
	for _, pattern := range s.ImageAllow {
		if ok, _ := path.Match(pattern, asked); ok {
			return asked, nil
		}
	}
	return "", invalid("body.image", "image must be a template's, or one that IMAGE_ALLOW names: this one is not allowed here")
}

// resources returns what a container gets for what was asked.
func (s Settings) resources(asked *ResourceRequest, t ide.Template) (ide.Resources, error) {
	r := s.Resources
	if t.CPULimit != 0 {
		r.CPULimit = t.CPULimit
	}
	if t.MemoryLimit != 0 {
		r.MemoryLimit = t.MemoryLimit
	}
	if asked == nil {
		asked = &ResourceRequest{}
	}
	if asked.CPULimit != 0 {
		r.CPULimit = int64(asked.CPULimit * 1e9)
	}
	if asked.MemoryLimit != "" {
		n, err := units.RAMInBytes(asked.MemoryLimit)
		if err != nil || n < ide.LeastMemory {
			return r, invalid("body.resources.memoryLimit", "memoryLimit must be a number of bytes with k, m or g, and at least 64m")
		}
		r.MemoryLimit = n
	}
	if most := s.MaxResources; most.CPULimit > 0 && r.CPULimit > most.CPULimit || most.MemoryLimit > 0 && r.MemoryLimit > most.MemoryLimit {
		return r, invalid("body.resources", mostOf(most))
	}
	r.CPUReservation, r.MemoryReservation = min(r.CPUReservation, r.CPULimit), min(r.MemoryReservation, r.MemoryLimit)
	return r, nil
}

// mostOf says what a container may have at most.
func mostOf(most ide.Resources) string {
	switch {
	case most.MemoryLimit == 0:
		return fmt.Sprintf("cpuLimit must not be more than %g here", float64(most.CPULimit)/1e9)
	case most.CPULimit == 0:
		return fmt.Sprintf("memoryLimit must not be more than %s here", units.BytesSize(float64(most.MemoryLimit)))
	}
	return fmt.Sprintf("cpuLimit must not be more than %g, and memoryLimit not more than %s here", float64(most.CPULimit)/1e9, units.BytesSize(float64(most.MemoryLimit)))
}
