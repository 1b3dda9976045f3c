package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"berth/functions"
	"berth/openapi"

	"github.com/docker/go-units"
)

func (c ID) path() string { return "/api/containers/" + url.PathEscape(c.ID) }

// Credentials shows a container's passwords.
type Credentials struct{ ID }

// Run implements the command.
func (c Credentials) Run(g *Globals) error {
	var a openapi.CredentialsAnswer
	if err := g.call(http.MethodGet, c.path()+"/credentials", nil, nil, &a); err != nil {
		return err
	}
	return g.show(a, func(w io.Writer) {
		rows(w, "", func(row func(...any)) {
			row("Code", a.CodePassword)
			row("Desktop", a.VNCPassword)
			if a.WebhookSecret != "" {
				row("Webhook", a.WebhookSecret)
			}
		})
	})
}

// Save saves a workspace now.
type Save struct {
	ID
	NoWait bool `help:"Do not wait until it is saved."`
}

// Run implements the command.
func (c Save) Run(g *Globals) error {
	return g.job(http.MethodPost, c.path()+"/save", nil, c.NoWait)
}

// Restart stops a container and starts it again.
type Restart struct {
	ID
	NoWait bool `help:"Do not wait until it runs again."`
}

// Run implements the command.
func (c Restart) Run(g *Globals) error {
	return g.job(http.MethodPost, c.path()+"/restart", nil, c.NoWait)
}

// Events shows what happened to a container.
type Events struct{ ID }

// Run implements the command.
func (c Events) Run(g *Globals) error {
	var l openapi.EventList
	if err := g.call(http.MethodGet, c.path()+"/events", nil, nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "AT\tTYPE\tBY\tMESSAGE", func(row func(...any)) {
			for _, e := range l.Events {
				row(e.At.Format(time.RFC3339), e.Type, e.By, e.Message)
			}
		})
	})
}

// Generations are the kept saves of a workspace.
type Generations struct {
	List    GenerationsList    `cmd:"" default:"withargs" help:"List what is kept, newest first."`
	Restore GenerationsRestore `cmd:"" help:"Start a stopped container with an earlier save, which becomes the newest."`
}

// GenerationsList lists them.
type GenerationsList struct{ ID }

// Run implements the command.
func (c GenerationsList) Run(g *Globals) error {
	var l openapi.GenerationList
	if err := g.call(http.MethodGet, c.path()+"/generations", nil, nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "GENERATION\tSAVED\tFILES\tSIZE", func(row func(...any)) {
			for _, s := range l.Generations {
				row(s.Generation, s.At.Format(time.RFC3339), s.Files, units.HumanSize(float64(s.Bytes)))
			}
		})
	})
}

// GenerationsRestore goes back to one.
type GenerationsRestore struct {
	ID
	Generation int64 `arg:"" help:"Its number."`
	NoWait     bool  `help:"Do not wait until it runs."`
}

// Run implements the command.
func (c GenerationsRestore) Run(g *Globals) error {
	return g.jobWith(http.MethodPost, c.path()+"/restore", nil, functions.RestoreRequest{Generation: c.Generation}, c.NoWait)
}

// Templates lists what can be started.
type Templates struct{}

// Run implements the command.
func (Templates) Run(g *Globals) error {
	var l openapi.TemplateList
	if err := g.call(http.MethodGet, "/api/templates", nil, nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "NAME\tCPU\tMEMORY\tIMAGE\tFOUND\tDESCRIPTION", func(row func(...any)) {
			for _, t := range l.Templates {
				row(t.Name, t.CPULimit, fmt.Sprintf("%d MiB", t.MemoryLimit>>20), t.Image, t.ImageFound, t.Description)
			}
		})
	})
}
