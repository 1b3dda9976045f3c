// Package cli is the client side of the berth command: the same HTTP API that
// other programs use, for people and scripts.
package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/openapi"
)

// Globals are the flags of every client command.
type Globals struct {
	URL    string `name:"url" help:"Where the API is; BERTH_URL, or http://localhost:8080."`
	APIKey string `name:"api-key" help:"The API key; BERTH_API_KEY."`
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`

	ctx  context.Context
	out  io.Writer
	err  io.Writer
	vars map[string]string // the environment
	live bool              // err is a terminal: the running step is shown, too
}

// Bind gives the commands what they run with; vars is the environment.
func (g *Globals) Bind(ctx context.Context, vars map[string]string, out, err io.Writer) {
	g.ctx, g.vars, g.out, g.err = ctx, vars, out, err
	g.URL = cmp.Or(g.URL, vars["BERTH_URL"], "http://localhost:8080")
	g.APIKey = cmp.Or(g.APIKey, vars["BERTH_API_KEY"])
	if f, ok := err.(*os.File); ok {
		info, serr := f.Stat()
		g.live = serr == nil && info.Mode()&os.ModeCharDevice != 0
	}
}

// Outcomes of commands that have shown already what there is to say.
var (
	ErrJobFailed = errors.New("the job did not succeed")
	ErrNoRoom    = errors.New("a start would not be admitted")
	ErrUnwell    = errors.New("a check failed")
)

// ExitCodes are for the program's help.
const ExitCodes = "Exit codes: 0 done; 1 refused, not reached or wrong usage; 2 the job did not succeed; 3 a checked start would not be admitted; 4 berth doctor has found a fault."

// ExitCode is the exit code of a command's outcome. told says that nothing is
// left to say of it.
func ExitCode(err error) (code int, told bool) {
	switch {
	case err == nil:
		return 0, true
	case errors.Is(err, ErrJobFailed):
		return 2, true
	case errors.Is(err, ErrNoRoom):
		return 3, true
	case errors.Is(err, ErrUnwell):
		return 4, true
	}
	return 1, false
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// request makes a request to the API; body may be nil.
func (g *Globals) request(method, path string, query url.Values, body any) (*http.Request, error) {
	if g.APIKey == "" {
		return nil, errors.New("no API key: set BERTH_API_KEY or --api-key")
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	target := strings.TrimSuffix(g.URL, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(g.ctx, method, target, in)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+g.APIKey)
	req.Header.Set("User-Agent", "berth")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// refused is the error of an answer that is one.
func (g *Globals) refused(res *http.Response, text []byte) error {
	var e openapi.Envelope
	if json.Unmarshal(text, &e) != nil || e.Err == nil {
		return fmt.Errorf("%s is no Berth API: it answered %s", g.URL, res.Status)
	}
	return fmt.Errorf("%s (%s, request %s)", e.Err.Message, e.Err.Code, res.Header.Get("X-Request-ID"))
}

// transport is the commands' own: no code beside them closes its connections.
var transport = http.DefaultTransport.(*http.Transport).Clone()

// call asks the API and decodes the answer into out, which may be nil.
func (g *Globals) call(method, path string, query url.Values, body, out any) error {
	req, err := g.request(method, path, query, body)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: transport, Timeout: 90 * time.Second}).Do(req)
	if err != nil {
		return fmt.Errorf("reach the API at %s: %w", g.URL, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return g.refused(res, text)
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s is no Berth API: %w", g.URL, err)
	}
	return nil
}

// wait follows a job to its end and shows each step as it is done. A job that
// does not succeed is ErrJobFailed.
func (g *Globals) wait(id string) (functions.JobAnswer, error) {
	shown := 0
	for {
		var j functions.JobAnswer
		if err := g.call(http.MethodGet, "/api/jobs/"+url.PathEscape(id), url.Values{"wait": {"1"}}, nil, &j); err != nil {
			return j, err
		}
		if g.Output == "table" {
			shown = g.steps(j.Steps, shown)
		}
		if j.Status.Ended() {
			if j.Status != ide.JobSucceeded {
				if g.Output == "table" {
					fmt.Fprintf(g.err, "%s %s: %s\n", j.Function, j.Status, reason(j))
				}
				return j, ErrJobFailed
			}
			return j, nil
		}
	}
}

// steps shows those after the first that are over and, on a terminal, the one
// that runs, which is overwritten later.
func (g *Globals) steps(all []ide.Step, shown int) int {
	if g.live {
		fmt.Fprint(g.err, "\r\x1b[K")
	}
	for ; shown < len(all) && all[shown].Status != ide.StepRunning; shown++ {
		s := all[shown]
		mark := "ok"
		if s.Status == ide.StepFailed {
			mark = "failed: " + s.Message
		}
		fmt.Fprintf(g.err, "  %-10s %7.2fs  %s\n", s.Name, s.Seconds, mark)
	}
	if g.live && shown < len(all) {
		s := all[shown]
		fmt.Fprintf(g.err, "  %-10s %7.2fs  %s", s.Name, time.Since(s.StartedAt).Seconds(), cmp.Or(s.Message, "..."))
	}
	return shown
}

func reason(j functions.JobAnswer) string {
	if j.Error == nil {
		return "no reason was given"
	}
	return fmt.Sprintf("%s (%s)", j.Error.Message, j.Error.Code)
}

// show prints JSON, or calls table.
func (g *Globals) show(v any, table func(io.Writer)) error {
	if g.Output == "json" {
		enc := json.NewEncoder(g.out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	table(g.out)
	return nil
}
