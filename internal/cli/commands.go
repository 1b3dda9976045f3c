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
	Create      Create      `cmd:"" help:"Start a new container and wait for its URLs."`
	Check       Check       `cmd:"" help:"Say whether a start would be admitted now, and where; exit code 3 if not."`
	List        List        `cmd:"" help:"List containers."`
	Get         Get         `cmd:"" help:"Show a container."`
	Stop        Stop        `cmd:"" help:"Stop a container."`
	Start       Start       `cmd:"" help:"Start a stopped or failed container again."`
	Restart     Restart     `cmd:"" help:"Save, stop and start a running container."`
	Keepalive   Keepalive   `cmd:"" help:"Put off the stop of a container that nobody uses."`
	Probe       Probe       `cmd:"" help:"Probe a running container now."`
	Credentials Credentials `cmd:"" help:"Show a container's passwords."`
	Events      Events      `cmd:"" help:"Show what happened to a container, and why."`
	Save        Save        `cmd:"" help:"Save a running container's workspace now."`
	Generations Generations `cmd:"" help:"Kept saves of a workspace; going back to one."`
	Templates   Templates   `cmd:"" help:"What can be started."`
	Logs        Logs        `cmd:"" help:"Show what a container's programs have printed."`
	Jobs        Jobs        `cmd:"" help:"Jobs."`
	Wait        Wait        `cmd:"" help:"Follow a job to its end; exit code 2 if it does not succeed."`
	Schedules   Schedules   `cmd:"" help:"What runs by itself; for admins."`
	Keys        Keys        `cmd:"" help:"API keys."`
	Move        Move        `cmd:"" help:"Move a running container to another node, its workspace saved."`
	Nodes       Nodes       `cmd:"" help:"The machines of the Swarm; for admins."`

	Webhooks   Webhooks   `cmd:"" help:"Endpoints that are told what happens."`
	Completion Completion `cmd:"" help:"Print what makes a shell complete berth's commands and flags."`
}

// Create starts a container.
type Create struct {
	Spec
	NoWait bool `help:"Do not wait until it runs."`
}

// Run implements the command.
func (c Create) Run(g *Globals) error {
	body, err := c.request(g)
	if err != nil {
		return err
	}
	var s functions.StartAnswer
	if err := g.call(http.MethodPost, "/api/containers/start", nil, body, &s); err != nil {
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
type Check struct {
	Spec
	TryBucket bool `name:"bucket" help:"Try the bucket, too: list, write, read and delete below .berth/check."`
}

// Run implements the command.
func (c Check) Run(g *Globals) error {
	body, err := c.request(g)
	if err != nil {
		return err
	}
	var a functions.CheckAnswer
	ask := functions.CheckRequest{CreateContainerRequest: body, Bucket: c.TryBucket}
	if err := g.call(http.MethodPost, "/api/containers/check", nil, ask, &a); err != nil {
		return err
	}
	err = g.show(a, func(w io.Writer) {
		if len(a.Nodes) > 0 {
			rows(w, "NODE\tFITS\tFREE CPU\tFREE MEMORY\tIMAGE\tWHY", func(row func(...any)) {
				for _, n := range a.Nodes {
					row(n.Hostname, n.Fits, fmt.Sprintf("%.2f", n.FreeCPU), fmt.Sprintf("%d MiB", n.FreeMemory>>20), n.ImageFound, n.Why)
				}
			})
		}
		if !a.Fits {
			fmt.Fprintln(w, a.Why)
		} else if len(a.Nodes) == 0 {
			fmt.Fprintln(w, "It fits.")
		}
	})
	if err == nil && !a.Fits {
		return ErrNoRoom
	}
	return err
}

// List lists containers.
type List struct {
	Status  string `help:"Only those in this state."`
	Text    string `name:"q" short:"q" help:"Only those with this text in their ID, owner, bucket, folder or labels."`
	Owner   string `help:"Only this key's; for keys that see all."`
	Sort    string `help:"By id, status, node, owner, created, cpu or memory; with a hyphen, --sort=-cpu, the largest first."`
	Unsaved bool   `help:"Only those whose node holds files that could not be saved."`
	Limit   int    `default:"50" help:"At most so many."`
	Offset  int    `help:"Leave out so many of the newest."`
}

// Run implements the command.
func (c List) Run(g *Globals) error {
	var l openapi.ContainerList
	q := page(c.Status, c.Limit, c.Offset)
	if c.Unsaved {
		q.Set("unsaved", "true")
	}
	for name, value := range map[string]string{"q": c.Text, "owner": c.Owner, "sort": c.Sort} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if err := g.call(http.MethodGet, "/api/containers", q, nil, &l); err != nil {
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
	ID string `arg:"" predictor:"container" help:"Container."`
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
			if one.Health != nil {
				row("Health", one.Health.Status)
			}
			if one.Idle != nil {
				row("Idle", idle(*one.Idle))
			}
			row("Limits", one.ResourceLimits.CPULimit+" CPU, "+one.ResourceLimits.MemoryLimit)
			row("Age", age(one.CreatedAt))
		})
	})
}

// Stop stops a container.
type Stop struct {
	ID
	Force  bool `help:"Give up what is not saved, and do not wait for a node that does not answer."`
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
	Force  bool `help:"Start it also if its last save is missing in the bucket, with what the bucket has."`
	NoWait bool `help:"Do not wait until it runs."`
}

// Run implements the command.
func (c Start) Run(g *Globals) error {
	q := url.Values{}
	if c.Force {
		q.Set("force", "true")
	}
	return g.job(http.MethodPost, "/api/containers/"+url.PathEscape(c.ID.ID)+"/start", q, c.NoWait)
}

// job asks for something that is a job, and follows it.
func (g *Globals) job(method, path string, q url.Values, noWait bool) error {
	return g.jobWith(method, path, q, nil, noWait)
}

// jobWith is job, with a body.
func (g *Globals) jobWith(method, path string, q url.Values, body any, noWait bool) error {
	var j functions.JobAnswer
	if err := g.call(method, path, q, body, &j); err != nil {
		return err
	}
	switch {
	case j.Function == "" && j.ID != "": // the container, for which there was nothing to do
		return g.showJob(j)
	case noWait:
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
