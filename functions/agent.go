package functions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"
)

// agentStatus is what an agent says of itself, so far as functions need it.
type agentStatus struct {
	Ready        bool                `json:"ready"`
	Message      string              `json:"message"`
	Workspace    ide.WorkspaceStatus `json:"workspace"`
	Now          time.Time           `json:"now"` // by the clock of its node, as LastActivity
	LastActivity ide.Use             `json:"lastActivity"`
	CPUSeconds   float64             `json:"cpuSeconds"`
}

// errNoAgent says that an agent did not answer, or not as one does.
var errNoAgent = errors.New("no answer from the agent")

// agent is the agent of a container, or of its saver, at an address of the
// containers' network, on which the worker is, too.
type agent struct {
	http    *http.Client
	address string
	token   string
	timeout time.Duration // of one request
}

func (d *Deps) agentAt(address, token string) agent {
	return agent{d.HTTP, address, token, d.patience()}
}

// call asks the agent. No answer is errNoAgent; an agent that refuses the token
// is CONTAINER_START_FAILED, for it is not the container's.
func (a agent) call(ctx context.Context, method, path string, in, out any) error {
	if a.address == "" {
		return errNoAgent
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	url := "http://" + net.JoinHostPort(a.address, strconv.Itoa(ide.AgentPort)) + path
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return fmt.Errorf("ask agent: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	res, err := a.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAgent, err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		return ide.Errorf(ide.ContainerStartFailed, "The agent in the container refuses the control plane.")
	case res.StatusCode >= 300:
		return fmt.Errorf("%w: status %d", errNoAgent, res.StatusCode)
	case out != nil && json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(out) != nil:
		return fmt.Errorf("%w: what it says cannot be read", errNoAgent)
	}
	return nil
}

func (a agent) status(ctx context.Context) (s agentStatus, err error) {
	err = a.call(ctx, http.MethodGet, ide.AgentStatusPath, nil, &s)
	return s, err
}

// leftOut names what the last save has left out, so far as the agent answers.
func (a agent) leftOut(ctx context.Context) []string {
	s, err := a.status(ctx)
	if err != nil {
		return nil
	}
	return s.Workspace.LeftOut
}

// save asks for a save and returns its number; see ide.Asked.
func (a agent) save(ctx context.Context) (int64, error) {
	var n ide.Asked
	err := a.call(ctx, http.MethodPost, ide.AgentSavePath, nil, &n)
	return n.Number, err
}

// finish asks for the last save, after which all programs have ended. anew has
// every file read and sent again.
func (a agent) finish(ctx context.Context, anew bool) (int64, error) {
	path := ide.AgentFinishPath
	if anew {
		path += "?anew=1"
	}
	var n ide.Asked
	err := a.call(ctx, http.MethodPost, path, nil, &n)
	return n.Number, err
}

func (a agent) credentials(ctx context.Context, c ide.S3Credentials) error {
	return a.call(ctx, http.MethodPost, ide.AgentCredentialsPath, c, nil)
}

// OpenContainer tells the agent of a container on this worker's node that the
// filter stands there. Agents that were told before take it again. One of an
// earlier run is not told, nor is one without an agent.
func OpenContainer(ctx context.Context, d *Deps, local swarm.LocalContainer) error {
	c, err := d.Store.Container(ctx, local.Container)
	if err != nil || local.Run < c.Run || c.NoAgent {
		return err
	}
	secrets, _, err := d.secrets(c)
	if err != nil {
		return err
	}
	return d.agentAt(local.Address, secrets.AgentToken).call(ctx, http.MethodPost, ide.AgentOpenPath, nil, nil)
}

// AgentClient calls agents and the edge: no proxy, no redirect.
func AgentClient() *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second, DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext},
	}
}
