package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"berth/functions"
	"berth/openapi"
)

// Commands are those that need nothing but the API.
type Commands struct {
	Create Create `cmd:"" help:"Start a new container and wait for its URLs."`
	Check  Check  `cmd:"" help:"Say whether a start would be admitted now, and where."`
	List   List   `cmd:"" help:"List containers."`
	Get    Get    `cmd:"" help:"Show a container."`
	Stop   Stop   `cmd:"" help:"Stop a container."`
	Start  Start  `cmd:"" help:"Start a stopped or failed container again."`
	Jobs   Jobs   `cmd:"" help:"List jobs."`
	Wait   Wait   `cmd:"" help:"Follow a job to its end."`
	Keys   Keys   `cmd:"" help:"API keys."`
}

// Spec is what create and check ask for.
type Spec struct {
	Bucket string            `arg:"" help:"S3 bucket of the workspace."`
	Region string            `help:"Region of the bucket."`
	Prefix string            `help:"Folder in the bucket."`
	Image  string            `help:"Image to run."`
	CPU    float64           `name:"cpu" help:"Limit, in cores."`
	Memory string            `help:"Limit, in bytes with k, m or g."`
	Label  map[string]string `help:"Your own labels, name=value."`
}

func (s Spec) request() functions.CreateContainerRequest {
	r := functions.CreateContainerRequest{S3Bucket: s.Bucket, S3Region: s.Region, S3Prefix: s.Prefix, Image: s.Image, Labels: s.Label}
	if s.CPU != 0 || s.Memory != "" {
		r.Resources = &functions.ResourceRequest{CPULimit: s.CPU, MemoryLimit: s.Memory}
	}
	return r
}

// Create starts a container.
type Create struct {
	Spec
	NoWait bool `help:"Do not wait until it runs."`
}

// Run implements the command.
func (c Create) Run(g *Globals) error {
	var s functions.StartAnswer
	if err := g.call(http.MethodPost, "/api/containers/start", nil, c.request(), &s); err != nil {
		return err
	}
	if !c.NoWait {
		if _, err := g.wait(s.Job.ID); err != nil {
			return err
		}
	}
	return g.container(s.ID)
}

// Check is a create that makes nothing.
type Check struct{ Spec }

// Run implements the command.
func (c Check) Run(g *Globals) error {
	var a functions.CheckAnswer
	if err := g.call(http.MethodPost, "/api/containers/check", nil, c.request(), &a); err != nil {
		return err
	}
	return g.show(a, func(w io.Writer) {
		rows(w, "NODE\tFITS\tFREE CPU\tFREE MEMORY\tWHY", func(row func(...any)) {
			for _, n := range a.Nodes {
				row(n.Hostname, n.Fits, fmt.Sprintf("%.2f", n.FreeCPU), fmt.Sprintf("%d MiB", n.FreeMemory>>20), n.Why)
			}
		})
		if !a.Fits {
			fmt.Fprintln(w, a.Why)
		}
	})
}

// List lists containers.
type List struct {
	Status string `help:"Only those in this state."`
	Limit  int    `default:"50" help:"At most so many."`
	Offset int    `help:"Leave out so many of the newest."`
}

// Run implements the command.
func (c List) Run(g *Globals) error {
	var l openapi.ContainerList
	if err := g.call(http.MethodGet, "/api/containers", page(c.Status, c.Limit, c.Offset), nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "ID\tSTATUS\tOWNER\tBUCKET\tAGE\tCODE", func(row func(...any)) {
			for _, one := range l.Containers {
				row(one.ID, one.Status, one.Owner, one.S3Bucket, age(one.CreatedAt), one.URLs.Code)
			}
		})
		more(w, len(l.Containers), l.Page)
	})
}

// ID names a container.
type ID struct {
	ID string `arg:"" help:"Container."`
}

// Get shows a container.
type Get struct{ ID }

// Run implements the command.
func (c Get) Run(g *Globals) error { return g.container(c.ID.ID) }

func (g *Globals) container(id string) error {
	var one openapi.ContainerAnswer
	if err := g.call(http.MethodGet, "/api/containers/"+url.PathEscape(id), nil, nil, &one); err != nil {
		return err
	}
	return g.show(one, func(w io.Writer) {
		rows(w, "", func(row func(...any)) {
			row("ID", one.ID)
			row("Status", one.Status)
			if one.Error != nil {
				row("Error", fmt.Sprintf("%s (%s)", one.Error.Message, one.Error.Code))
			}
			row("Code", one.URLs.Code)
			row("Desktop", one.URLs.VNC)
			row("Web", one.URLs.WebServer)
			row("Bucket", one.S3Bucket)
			row("Owner", one.Owner)
			row("Limits", one.ResourceLimits.CPULimit+" CPU, "+one.ResourceLimits.MemoryLimit)
			row("Age", age(one.CreatedAt))
		})
	})
}

// Stop stops a container.
type Stop struct {
	ID
	Force  bool `help:"Do not wait for a node that does not answer."`
	Purge  bool `help:"Drop the record as well."`
	NoWait bool `help:"Do not wait until it has stopped."`
}

// Run implements the command.
func (c Stop) Run(g *Globals) error {
	q := url.Values{}
	if c.Force {
		q.Set("force", "true")
	}
	if c.Purge {
		q.Set("purge", "true")
	}
	return g.job(http.MethodDelete, "/api/containers/"+url.PathEscape(c.ID.ID), q, c.NoWait)
}

// Start starts a container again.
type Start struct {
	ID
	NoWait bool `help:"Do not wait until it runs."`
}

// Run implements the command.
func (c Start) Run(g *Globals) error {
	return g.job(http.MethodPost, "/api/containers/"+url.PathEscape(c.ID.ID)+"/start", nil, c.NoWait)
}

// job asks for something that is a job, and follows it.
func (g *Globals) job(method, path string, q url.Values, noWait bool) error {
	var j functions.JobAnswer
	if err := g.call(method, path, q, nil, &j); err != nil {
		return err
	}
	if noWait {
		return g.showJob(j)
	}
	return g.follow(j.ID)
}

func (g *Globals) follow(id string) error {
	j, err := g.wait(id)
	if err != nil && g.Output == "table" || j.ID == "" {
		return err
	}
	if serr := g.showJob(j); serr != nil {
		return serr
	}
	return err
}

func (g *Globals) showJob(j functions.JobAnswer) error {
	return g.show(j, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", j.ID, j.Status) })
}

// Jobs lists jobs.
type Jobs struct {
	Status string `help:"Only those in this state."`
	Limit  int    `default:"50" help:"At most so many."`
	Offset int    `help:"Leave out so many of the newest."`
}

// Run implements the command.
func (c Jobs) Run(g *Globals) error {
	var l openapi.JobList
	if err := g.call(http.MethodGet, "/api/jobs", page(c.Status, c.Limit, c.Offset), nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "JOB\tSTATUS\tATTEMPT\tAGE\tERROR", func(row func(...any)) {
			for _, j := range l.Jobs {
				message := ""
				if j.Error != nil {
					message = j.Error.Message
				}
				row(j.ID, j.Status, fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts), age(j.QueuedAt), message)
			}
		})
		more(w, len(l.Jobs), l.Page)
	})
}

// Wait follows a job.
type Wait struct {
	Job string `arg:"" help:"Job."`
}

// Run implements the command.
func (c Wait) Run(g *Globals) error { return g.follow(c.Job) }

// Keys manages API keys.
type Keys struct {
	List   KeysList   `cmd:"" default:"1" help:"List API keys."`
	Create KeysCreate `cmd:"" help:"Make an API key; it is shown once."`
	Delete KeysDelete `cmd:"" help:"Revoke an API key."`
}

// KeysList lists API keys.
type KeysList struct{}

// Run implements the command.
func (KeysList) Run(g *Globals) error {
	var l openapi.KeyList
	if err := g.call(http.MethodGet, "/api/keys", nil, nil, &l); err != nil {
		return err
	}
	return g.show(l, func(w io.Writer) {
		rows(w, "NAME\tROLE\tSOURCE\tLAST USED", func(row func(...any)) {
			for _, k := range l.Keys {
				used := ""
				if k.LastUsed != nil {
					used = age(*k.LastUsed) + " ago"
				}
				row(k.Name, k.Role, k.Source, used)
			}
		})
	})
}

// KeysCreate makes an API key.
type KeysCreate struct {
	Name          string   `arg:"" help:"Stable name: it owns what the key makes."`
	Role          string   `enum:"admin,client,viewer" default:"client" help:"admin, client or viewer."`
	Bucket        []string `help:"Patterns of buckets that it may use."`
	MaxContainers int      `help:"Live containers."`
	RateLimit     int      `help:"Requests a minute."`
}

// Run implements the command.
func (c KeysCreate) Run(g *Globals) error {
	body := map[string]any{"name": c.Name, "role": c.Role}
	if len(c.Bucket) > 0 {
		body["buckets"] = c.Bucket
	}
	if c.MaxContainers > 0 {
		body["maxContainers"] = c.MaxContainers
	}
	if c.RateLimit > 0 {
		body["rateLimit"] = c.RateLimit
	}
	var k openapi.NewKeyAnswer
	if err := g.call(http.MethodPost, "/api/keys", nil, body, &k); err != nil {
		return err
	}
	return g.show(k, func(w io.Writer) { fmt.Fprintln(w, k.Key) })
}

// KeysDelete revokes an API key.
type KeysDelete struct {
	Name string `arg:"" help:"Its name."`
}

// Run implements the command.
func (c KeysDelete) Run(g *Globals) error {
	return g.call(http.MethodDelete, "/api/keys/"+url.PathEscape(c.Name), nil, nil, nil)
}

func page(status string, limit, offset int) url.Values {
	q := url.Values{"limit": {strconv.Itoa(limit)}, "offset": {strconv.Itoa(offset)}}
	if status != "" {
		q.Set("status", status)
	}
	return q
}

// rows prints aligned columns.
func rows(w io.Writer, head string, each func(row func(...any))) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if head != "" {
		fmt.Fprintln(t, head)
	}
	each(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, c)
		}
		fmt.Fprintln(t)
	})
	t.Flush()
}

// more says how many are not shown.
func more(w io.Writer, shown int, p openapi.Page) {
	if rest := p.Total - p.Offset - shown; rest > 0 {
		fmt.Fprintf(w, "and %d older\n", rest)
	}
}

// age is how long ago something was, in its largest unit.
func age(t time.Time) string {
	switch d := time.Since(t); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
