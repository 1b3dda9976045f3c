package functions

import (
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
	return ide.Template{}, invalid("body.template", "there is no such template; GET /api/templates lists them")
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
	return "", invalid("body.image", "this image is not allowed here")
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
			return r, invalid("body.resources.memoryLimit", "memoryLimit is a number of bytes with k, m or g, at least 64m")
		}
		r.MemoryLimit = n
	}
	if most := s.MaxResources; most.CPULimit > 0 && r.CPULimit > most.CPULimit || most.MemoryLimit > 0 && r.MemoryLimit > most.MemoryLimit {
		return r, invalid("body.resources", "this is more than a container may have here")
	}
	r.CPUReservation, r.MemoryReservation = min(r.CPUReservation, r.CPULimit), min(r.MemoryReservation, r.MemoryLimit)
	return r, nil
}
