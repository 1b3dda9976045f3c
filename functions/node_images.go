package functions

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// BringImagesArgs is the job of bringing the templates' images to a node.
type BringImagesArgs struct {
	ID string `json:"id"` // engine ID of the node
}

// BringImages gives the engine of a node the images of the templates that it
// lacks: from their registry where their name has one, else from the engine of
// another node. What neither gives is left out: no node has it.
var BringImages = define(Function[BringImagesArgs]{
	Name: "node-images", Doc: "Bring the templates' images to a node",
	Queue: queue.OnNode, Attempts: 20, Timeout: time.Hour,
	Admit: func(_ context.Context, _ *Deps, _ ide.Principal, a *BringImagesArgs) (store.Admission, error) {
		return store.Admission{Node: a.ID}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ BringImagesArgs) error {
		var failed error
		for _, name := range d.Images() {
			err := Step(ctx, "image "+name, func(ctx context.Context) error { return d.bring(ctx, name) })
			if err != nil && ctx.Err() != nil {
				return err
			}
			failed = errors.Join(failed, err)
		}
		return failed
	},
})

// AskImages asks for the images that a node lacks.
func AskImages(ctx context.Context, d *Deps, node string) error {
	_, err := BringImages.Enqueue(ctx, d, ide.Principal{Name: "worker", Role: ide.Admin}, &BringImagesArgs{ID: node})
	return err
}

// Images names what the templates run, each once.
func (s Settings) Images() (names []string) {
	for _, t := range s.Templates {
		if !slices.Contains(names, t.Image) {
			names = append(names, t.Image)
		}
	}
	return names
}

// bring gives this engine one image.
func (d *Deps) bring(ctx context.Context, name string) error {
	if has, err := d.Swarm.HasImage(ctx, name); err != nil || has {
		return err
	}
	host, _, _ := strings.Cut(name, "/")
	registry, local := strings.ContainsAny(host, ".:") && host != name, host == "localhost"
	pull := func() error {
		Progress(ctx, "It is fetched from its registry.")
		return d.Swarm.PullImage(ctx, name)
	}
	if registry {
		err := pull()
		if err == nil {
			return nil
		}
		d.Log.Info("registry does not give an image", "image", name, "err", err)
	}
	// a name without a registry may be one of this Swarm's own: what the other
	// nodes run under it is what is meant
	found, err := d.fromNeighbours(ctx, name)
	switch {
	case err != nil || found:
		return err
	case !registry && !local:
		if err = pull(); err == nil {
			return nil
		}
		d.Log.Info("registry does not give an image", "image", name, "err", err)
	}
	Progress(ctx, "No node and no registry gives it.")
	return nil
}

// imageClient fetches images from other workers: they may be gigabytes, and only
// the beginning is waited for with a limit.
var imageClient = &http.Client{Transport: &http.Transport{
	DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
	ResponseHeaderTimeout: time.Minute, DisableCompression: true,
}}

// fromNeighbours loads an image from the engine of another node. found says that
// one has it; the error is why none of those gave it.
func (d *Deps) fromNeighbours(ctx context.Context, name string) (found bool, failed error) {
	workers, err := d.Store.Workers(ctx, 30*time.Second)
	if err != nil {
		return false, err
	}
	for _, w := range workers {
		if w.Address == "" || w.Node == d.Node() || slices.Contains(w.Missing, name) {
			continue
		}
		Progress(ctx, "It is fetched from the node "+w.Node+".")
		if err := d.fetchImage(ctx, w, name); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		return true, nil
	}
	if failed != nil {
		return true, ide.Transient(ide.Docker, failed, "No other node gave the image %s.", name)
	}
	return false, nil
}

func (d *Deps) fetchImage(ctx context.Context, w ide.Worker, name string) error {
	expires := strconv.FormatInt(d.Store.Time(ctx).Add(imageTicket).Unix(), 10)
	tickets, err := d.tickets(w.Node, name, expires)
	if err != nil {
		return err
	}
	query := url.Values{"name": {name}, "expires": {expires}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.Address+"/image?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+tickets[0])
	res, err := imageClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask node %s: %w", w.Node, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask node %s: %s", w.Node, res.Status)
	}
	if err := d.Swarm.LoadImage(ctx, res.Body); err != nil {
		return err
	}
	has, err := d.Swarm.HasImage(ctx, name)
	if err == nil && !has {
		err = errors.New("the stream did not have it")
	}
	return err
}

// imageTicket is how long a ticket for an image may be used.
const imageTicket = 5 * time.Minute

// tickets let their bearer fetch an image of the templates' from a node. Only who has
// SECRET_KEY can make one. Each is good, the first is used.
func (d *Deps) tickets(node, name, expires string) ([]string, error) {
	return d.Box.Digests([]string{"node-image", node, name, expires})
}

// MayFetch says whether a request for an image of this node has a ticket for it.
func MayFetch(d *Deps, r *http.Request) (name string, ok bool) {
	name = r.URL.Query().Get("name")
	expires := r.URL.Query().Get("expires")
	at, err := strconv.ParseInt(expires, 10, 64)
	if left := time.Unix(at, 0).Sub(d.Store.Time(r.Context())); err != nil || left < 0 || left > 2*imageTicket {
		return name, false
	}
	good, err := d.tickets(d.Node(), name, expires)
	got := []byte(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	fits := func(t string) bool { return hmac.Equal(got, []byte(t)) }
	return name, err == nil && slices.ContainsFunc(good, fits) && slices.Contains(d.Images(), name)
}
