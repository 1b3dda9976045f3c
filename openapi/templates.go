package openapi

import (
	"context"

	"berth/functions"
	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// TemplateAnswer is something that can be started by its name.
type TemplateAnswer struct {
	Name        string         `json:"name" example:"python" doc:"It is the start's template"`
	Description string         `json:"description,omitempty" example:"default with pip, venv and IPython" doc:"What it is"`
	Image       string         `json:"image" example:"registry.example.com/ide-python:3" doc:"What runs"`
	ImageFound  string         `json:"imageFound" enum:"present,absent,unknown" doc:"present: some node has the image; absent: none has, so that it is pulled at the first start; unknown: no worker has reported"`
	CPULimit    float64        `json:"cpuLimit" example:"2" doc:"Cores, unless a start asks for others"`
	MemoryLimit int64          `json:"memoryLimit" example:"4294967296" doc:"Bytes, unless a start asks for others"`
	WebCommand  string         `json:"webCommand,omitempty" example:"npm run dev" doc:"Starts the user's web server"`
	Placement   *ide.Placement `json:"placement,omitempty" doc:"On which nodes it is put"`
	Environment []string       `json:"environment,omitempty" example:"[\"PYTHONUNBUFFERED\"]" doc:"Names of the variables that it sets"`
}

// TemplateList lists what can be started.
type TemplateList struct {
	Templates []TemplateAnswer `json:"templates" doc:"As the server's file has them"`
}

// templates serves what can be started. The values of variables stay with the
// operator.
func (s *server) templates(api huma.API) {
	huma.Register(api, read("list-templates", "/api/templates", "containers", "What can be started"),
		func(ctx context.Context, _ *struct{}) (*body[TemplateList], error) {
			found, err := functions.ImagesFound(ctx, s.deps)
			if err != nil {
				return nil, err
			}
			out := TemplateList{Templates: []TemplateAnswer{}}
			for _, t := range s.deps.Templates {
				a := TemplateAnswer{Name: t.Name, Description: t.Description, Image: t.Image, ImageFound: found[t.Image], WebCommand: t.WebCommand,
					CPULimit: float64(t.CPULimit) / 1e9, MemoryLimit: t.MemoryLimit, Environment: keysOf(t.Env)}
				if p := t.Placement; len(p.Constraints)+len(p.Generic) > 0 || p.Strategy != "" {
					a.Placement = &p
				}
				if t.CPULimit == 0 {
					a.CPULimit = float64(s.deps.Resources.CPULimit) / 1e9
				}
				if t.MemoryLimit == 0 {
					a.MemoryLimit = s.deps.Resources.MemoryLimit
				}
				out.Templates = append(out.Templates, a)
			}
			return &body[TemplateList]{out}, nil
		})
}
