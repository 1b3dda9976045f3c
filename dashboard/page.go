// Package dashboard is what an operator looks at: a page, rendered on the
// server, that shows containers, jobs and health, and keeps itself fresh.
package dashboard

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"berth/internal/ide"
)

// View is all that the page shows.
type View struct {
	Status, Version, Durability, Isolation string
	Checks                                 []Check
	Total                                  int
	Containers                             []ide.Container
	Jobs                                   []ide.Job
}

// Check is one line of the health.
type Check struct {
	Name    string
	OK      bool
	Message string
}

//go:embed page.html
var text string

//go:embed page.css
var style string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago":   func(t time.Time) string { return ago(time.Since(t)) },
	"style": func() template.CSS { return template.CSS(style) },
	"step": func(j ide.Job) string {
		if n := len(j.Steps); n > 0 {
			return j.Steps[n-1].Name
		}
		return ""
	},
	"took": func(j ide.Job) string {
		if j.FinishedAt == nil || j.StartedAt == nil {
			return ""
		}
		return j.FinishedAt.Sub(j.QueuedAt).Round(10 * time.Millisecond).String()
	},
}).Parse(text))

// ago says how long something is past, in its largest unit.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// Handler serves the page. look reads what it shows; its context carries the
// caller.
func Handler(look func(context.Context) (View, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Refresh", "3")
		v, err := look(r.Context())
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			v = View{Status: "down", Checks: []Check{{Name: "redis", Message: ide.AsError(err).Message}}}
		}
		var out bytes.Buffer
		if err := page.Execute(&out, v); err != nil {
			http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
			return
		}
		_, _ = out.WriteTo(w) // a client that has gone away
	})
}
