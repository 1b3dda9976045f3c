package functions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"berth/internal/ide"
)

// readyTimeout bounds the wait for an agent, and for the URLs: longer than a
// cold start of the full image takes on a busy machine.
const readyTimeout = 2 * time.Minute

// waitAgent returns when the agent inside a container answers. While it does
// not, it is looked now and then whether the task still runs: a program that
// ends at once may have been seen running. The address is where the task is
// then.
func (d *Deps) waitAgent(ctx context.Context, c ide.Container, address, token string) (string, error) {
	looked := time.Now()
	err := d.poll(ctx, "The agent in the container does not answer.", func(ctx context.Context) (bool, error) {
		if time.Since(looked) > 3*time.Second {
			task, err := d.Swarm.WaitRunning(ctx, c, func(string) {})
			if err != nil {
				return false, err
			}
			address, looked = task.Address, time.Now()
		}
		_, err := d.agentAt(address, token).status(ctx)
		if errors.Is(err, errNoAgent) {
			return false, nil
		}
		return err == nil, err
	})
	return address, err
}

// restoreMargin is how long before the end of its attempt a start whose restore
// makes progress asks for another.
const restoreMargin = time.Minute

// waitRestored returns what the agent has brought, and how. A restore that
// fails for good is INVALID_S3_BUCKET or what else the agent says; one that
// makes no progress for long is given up. One that makes progress may take longer
// than an attempt: the job then comes again, and no attempt counts.
func (d *Deps) waitRestored(ctx context.Context, a agent) (*ide.Restored, error) {
	var said string
	var restored *ide.Restored
	for {
		err := d.poll(ctx, "The workspace is not restored: nothing moves.", func(ctx context.Context) (bool, error) {
			s, err := a.status(ctx)
			if errors.Is(err, errNoAgent) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			w := s.Workspace
			if e := w.Error; e != nil && e.Permanent {
				return false, &ide.Error{Code: e.Code, Permanent: true, Message: "The workspace cannot be restored. " + e.Message}
			}
			Progress(ctx, s.Message)
			restored = w.Restore
			moves := s.Message != said && w.Error == nil
			said = s.Message
			if end, ok := ctx.Deadline(); ok && moves && !w.Restored && time.Until(end) < restoreMargin {
				return false, &waits{look: time.Second}
			}
			return w.Restored || moves, nil
		})
		if err != nil || restored != nil {
			return restored, err
		}
	}
}

// waitServices returns when desktop and editor have been up.
func (d *Deps) waitServices(ctx context.Context, a agent) error {
	return d.poll(ctx, "Desktop and editor do not start.", func(ctx context.Context) (bool, error) {
		s, err := a.status(ctx)
		if errors.Is(err, errNoAgent) {
			return false, nil
		}
		if err == nil {
			Progress(ctx, s.Message)
		}
		return s.Ready, err
	})
}

// waitURLs returns when the three URLs answer through the edge, the way that
// users take. Nothing has to listen on the web port: web says whether something
// does.
func (d *Deps) waitURLs(ctx context.Context, c ide.Container) (web bool, err error) {
	for _, p := range ide.Ports {
		err := d.poll(ctx, fmt.Sprintf("%s does not answer.", c.URLs.Of(p)), func(ctx context.Context) (bool, error) {
			up, served := d.probe(ctx, c, p)
			web = up && p == ide.PortWeb
			return up || served && p == ide.PortWeb, nil
		})
		if err != nil {
			return false, err
		}
	}
	return web, nil
}

// probe asks for a port of a container through the edge. up says that
// something of the container's answers, reached that at least the agent says
// that nothing listens there yet.
func (d *Deps) probe(ctx context.Context, c ide.Container, p ide.Port) (up, reached bool) {
	ctx, cancel := context.WithTimeout(ctx, d.patience())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.EdgeURL+"/", nil)
	if err != nil {
		return false, false
	}
	_, host, _ := strings.Cut(c.URLs.Of(p), "://")
	req.Host = host
	req.Header.Set(ide.ProbeHeader, c.Probe)
	res, err := d.HTTP.Do(req)
	if err != nil {
		return false, false
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection is used again
	if res.Header.Get(ide.NoServerHeader) != "" {
		return false, true
	}
	ok := res.StatusCode < http.StatusInternalServerError && res.StatusCode != http.StatusNotFound
	return ok, ok
}

// poll asks until the answer is yes, an error, or the time is up, which is
// CONTAINER_START_FAILED with the sentence. It asks often at first.
func (d *Deps) poll(ctx context.Context, sentence string, ask func(context.Context) (bool, error)) error {
	end := time.Now().Add(readyTimeout)
	for wait := 20 * time.Millisecond; ; wait = min(wait*3/2, time.Second) {
		ok, err := ask(ctx)
		if ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return ide.Transient(ide.ContainerStartFailed, nil, "%s", sentence)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}
