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

	ctx context.Context
	out io.Writer
	err io.Writer
}

// Bind gives the commands what they run with; vars is the environment.
func (g *Globals) Bind(ctx context.Context, vars map[string]string, out, err io.Writer) {
	g.ctx, g.out, g.err = ctx, out, err
	g.URL = cmp.Or(g.URL, vars["BERTH_URL"], "http://localhost:8080")
	g.APIKey = cmp.Or(g.APIKey, vars["BERTH_API_KEY"])
}

// ErrJobFailed is the outcome of a command whose job did not succeed; the job
// was shown already.
var ErrJobFailed = errors.New("the job did not succeed")

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// call asks the API and decodes the answer into out, which may be nil.
func (g *Globals) call(method, path string, query url.Values, body, out any) error {
	if g.APIKey == "" {
		return errors.New("no API key: set BERTH_API_KEY or --api-key")
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	target := strings.TrimSuffix(g.URL, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(g.ctx, method, target, in)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+g.APIKey)
	req.Header.Set("User-Agent", "berth")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := (&http.Client{Timeout: 90 * time.Second}).Do(req)
	if err != nil {
		return fmt.Errorf("reach the API at %s: %w", g.URL, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		var e openapi.Envelope
		if json.Unmarshal(text, &e) != nil || e.Err == nil {
			return fmt.Errorf("%s is no Berth API: it answered %s", g.URL, res.Status)
		}
		return fmt.Errorf("%s (%s, request %s)", e.Err.Message, e.Err.Code, res.Header.Get("X-Request-ID"))
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
		for ; g.Output == "table" && shown < len(j.Steps) && j.Steps[shown].Status != ide.StepRunning; shown++ {
			s := j.Steps[shown]
			mark := "ok"
			if s.Status == ide.StepFailed {
				mark = "failed: " + s.Message
			}
			fmt.Fprintf(g.err, "  %-10s %7.2fs  %s\n", s.Name, s.Seconds, mark)
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
