package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"
)

// agentStatus is the part of the agent's answer that a start needs.
type agentStatus struct {
	Ready   bool   `json:"ready"`
	Message string `json:"message"`
}

// readyTimeout bounds the wait for an agent, and for the URLs: longer than a
// cold start of the full image takes on a busy machine.
const readyTimeout = 2 * time.Minute

// waitAgent returns when the agent inside a container says that it is ready.
// The worker is on the containers' network and calls it directly. While there
// is no answer it looks now and then whether the task still runs: a program
// that ends at once may have been seen running.
// The address is where the task is then.
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
		url := "http://" + net.JoinHostPort(address, strconv.Itoa(ide.AgentPort)) + "/_berth/status"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := d.HTTP.Do(req)
		if err != nil {
			return false, nil
		}
		defer res.Body.Close()
		if res.StatusCode == http.StatusUnauthorized {
			return false, ide.Errorf(ide.ContainerStartFailed, "The agent in the container refuses the control plane.")
		}
		var s agentStatus
		if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&s) != nil {
			return false, nil
		}
		Progress(ctx, s.Message)
		return s.Ready, nil
	})
	return address, err
}

// waitURLs returns when the three URLs answer through the edge, the way that
// users take.
func (d *Deps) waitURLs(ctx context.Context, c ide.Container) error {
	for _, p := range ide.Ports {
		err := d.poll(ctx, fmt.Sprintf("%s does not answer.", c.URLs.Of(p)), func(ctx context.Context) (bool, error) {
			up, served := d.probe(ctx, c, p)
			return up || served && p == ide.PortWeb, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// probe asks for a port of a container through the edge. up says that
// something of the container's answers, reached that at least the agent says
// that nothing listens there yet.
func (d *Deps) probe(ctx context.Context, c ide.Container, p ide.Port) (up, reached bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
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
