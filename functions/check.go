package functions

import (
	"context"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

// CheckRequest is a start that is only looked at.
type CheckRequest struct {
	CreateContainerRequest
	Bucket bool `json:"bucket,omitempty" doc:"Try the bucket as a start does: list, write, read and delete below .berth/check"`
}

// CheckAnswer says whether a start would be admitted now, where, and if not,
// why.
type CheckAnswer struct {
	Fits       bool        `json:"fits" doc:"Whether a start would be admitted now, so far as is known, and could run"`
	Why        string      `json:"why,omitempty" doc:"Why not, in a sentence" example:"No node has room."`
	Code       ide.Code    `json:"code,omitempty" doc:"Name of the error that it would get" example:"RESOURCE_LIMIT_EXCEEDED"`
	Never      bool        `json:"never,omitempty" doc:"No node can ever take it, as the nodes are"`
	Image      string      `json:"image" doc:"What would run" example:"registry.example.com/ide:3"`
	ImageFound string      `json:"imageFound" enum:"present,absent,unknown" doc:"present: a node that it fits on has the image; absent: none has, so that it is pulled at the first start; unknown: it is not the image of a template, or no worker has reported"`
	Tried      bool        `json:"bucketTried,omitempty" doc:"The bucket was tried"`
	Nodes      []NodeCheck `json:"nodes" doc:"Every node, and whether it has room; for admins and viewers"`
	Live       int         `json:"live" doc:"Live containers of the key" example:"3"`
	Limit      int         `json:"limit,omitempty" doc:"How many the key may have; missing is any number" example:"50"`
}

// NodeCheck is the part of one node in a CheckAnswer.
type NodeCheck struct {
	ID         string  `json:"id" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"Engine ID"`
	Hostname   string  `json:"hostname" example:"node-1" doc:"Its name"`
	Fits       bool    `json:"fits" doc:"Whether the container would fit"`
	Why        string  `json:"why,omitempty" example:"0.25 CPU is needed." doc:"Why not, in a sentence"`
	ImageFound string  `json:"imageFound" enum:"present,absent,unknown" doc:"Whether it has the image"`
	FreeCPU    float64 `json:"freeCpu" doc:"Cores" example:"3.5"`
	FreeMemory int64   `json:"freeMemory" doc:"Bytes" example:"6442450944"`
}

// The three things that are known of an image.
const (
	imagePresent = "present"
	imageAbsent  = "absent"
	imageUnknown = "unknown"
)

// bucketPatience is how long a bucket may take to answer a request.
const bucketPatience = 20 * time.Second

// refuse notes why a start would be refused, if it is the first reason.
func (a *CheckAnswer) refuse(code ide.Code, why string) {
	if a.Code == "" {
		a.Fits, a.Code, a.Why = false, code, why
	}
}

// Check looks at a start without making anything. A request that is wrong by
// itself gets the same error as from a start.
func Check(ctx context.Context, d *Deps, p ide.Principal, b CheckRequest) (CheckAnswer, error) {
	c, err := b.check(d, p)
	if err != nil {
		return CheckAnswer{}, err
	}
	if b.Bucket && p.Role == ide.Viewer {
		return CheckAnswer{}, ide.Errorf(ide.Forbidden, "A viewer's key changes nothing, and trying a bucket writes to it.")
	}
	out := CheckAnswer{Fits: true, Image: c.Image, Limit: d.maxPerKey(p), Nodes: []NodeCheck{}}
	if out.Live, err = d.Store.Live(ctx, p.Name); err != nil {
		return out, err
	}
	if out.Limit > 0 && out.Live >= out.Limit {
		out.refuse(ide.ContainerLimitExceeded, "The key has as many live containers as it may.")
	}
	if d.S3.Place(c) != nil {
		switch err := d.Store.InUse(ctx, p, c.S3); {
		case ide.HasCode(err, ide.Conflict):
			out.refuse(ide.Conflict, ide.AsError(err).Message)
		case err != nil:
			return out, err
		}
	}
	if err := d.checkNodes(ctx, c, &out); err != nil {
		return out, err
	}
	if !p.SeesNodes() {
		out.Nodes = []NodeCheck{}
	}
	if b.Bucket && d.S3.Place(c) != nil {
		ctx, cancel := context.WithTimeout(ctx, bucketPatience)
		defer cancel()
		c.ID = ide.NewID() // credentials are made out to it
		out.Tried = true
		if _, err := d.checkPlace(ctx, c, ide.Secrets{AWSAccessKeyID: b.AWSAccessKeyID, AWSSecretAccessKey: b.AWSSecretAccessKey}); err != nil {
			e := ide.AsError(err)
			out.refuse(e.Code, e.Message)
		}
	}
	return out, nil
}

// checkNodes says which nodes have room for a container, and the image.
func (d *Deps) checkNodes(ctx context.Context, c ide.Container, out *CheckAnswer) error {
	rooms, err := d.Store.Room(ctx)
	if err != nil {
		return err
	}
	workers, err := d.Store.Workers(ctx, 30*time.Second)
	if err != nil {
		return err
	}
	var never []string
	fits := false
	out.Never, out.ImageFound = len(rooms) > 0, imageUnknown
	for _, r := range rooms {
		n := NodeCheck{ID: r.Node.ID, Hostname: r.Node.Hostname, FreeCPU: float64(r.FreeCPU) / 1e9, FreeMemory: r.FreeMemory,
			Why: r.Why(c), ImageFound: d.imageOn(r, workers, c.Image)}
		if n.Fits = n.Why == ""; n.Fits {
			if found := n.ImageFound; !fits || found == imagePresent || found == imageUnknown && out.ImageFound == imageAbsent {
				out.ImageFound = found
			}
			fits = true
		}
		why := c.Never(r.Node)
		out.Never = out.Never && why != ""
		if !slices.Contains(never, why) {
			never = append(never, why)
		}
		out.Nodes = append(out.Nodes, n)
	}
	switch {
	case out.Never:
		out.refuse(ide.PlacementImpossible, "No node can ever take it as they are: "+strings.Join(never, " "))
	case !fits:
		out.refuse(ide.ResourceLimitExceeded, "No node has room.")
	case out.ImageFound == imageAbsent && strings.HasPrefix(c.Image, "localhost/"):
		out.refuse(ide.ContainerStartFailed, "No node has the image "+c.Image+", and its name has no registry that it could be pulled from.")
	}
	return nil
}

// ImagesFound says of each template's image whether some node has it.
func ImagesFound(ctx context.Context, d *Deps) (map[string]string, error) {
	workers, err := d.Store.Workers(ctx, 30*time.Second)
	if err != nil {
		return nil, err
	}
	workers = slices.DeleteFunc(workers, func(w ide.Worker) bool { return !w.Engine })
	found := map[string]string{}
	for _, image := range d.Images() {
		switch {
		case len(workers) == 0:
			found[image] = imageUnknown
		case slices.ContainsFunc(workers, func(w ide.Worker) bool { return !slices.Contains(w.Missing, image) }):
			found[image] = imagePresent
		default:
			found[image] = imageAbsent
		}
	}
	return found, nil
}

// imageOn says whether a node has an image, so far as its workers have told:
// they look for those of the templates.
func (d *Deps) imageOn(r store.Room, workers []ide.Worker, image string) string {
	at := slices.IndexFunc(workers, func(w ide.Worker) bool { return w.Node == r.Node.ID && w.Engine })
	switch {
	case at < 0 || !slices.Contains(d.Images(), image):
		return imageUnknown
	case slices.Contains(workers[at].Missing, image):
		return imageAbsent
	}
	return imagePresent
}
