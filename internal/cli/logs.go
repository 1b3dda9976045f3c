package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"
)

// Logs shows what a container has printed.
type Logs struct {
	ID
	Follow bool   `short:"f" help:"Go on with new lines until interrupted."`
	Tail   int    `short:"n" default:"200" help:"So many of the last lines at most."`
	Since  string `help:"Only lines since this time (RFC 3339), or of this last while, as 10m."`
}

// Run implements the command.
func (c Logs) Run(g *Globals) error {
	q := url.Values{"tail": {strconv.Itoa(c.Tail)}, "follow": {strconv.FormatBool(c.Follow)}}
	if c.Since != "" {
		q.Set("since", c.Since)
	}
	last := ""
	for {
		err := g.lines("/api/containers/"+url.PathEscape(c.ID.ID)+"/logs", q, &last)
		switch {
		case g.ctx.Err() != nil:
			return nil // interrupted
		case !c.Follow, err != nil && !errors.Is(err, errCutOff):
			return err
		}
		select { // the server ends, or we were too slow: go on after the last line
		case <-g.ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// errCutOff says that a stream did not end as it ought to.
var errCutOff = errors.New("the stream was cut off")

// lines shows a stream of lines, and notes the last one's ID.
func (g *Globals) lines(path string, q url.Values, last *string) error {
	req, err := g.request(http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		if *last != "" {
			return errCutOff
		}
		return fmt.Errorf("reach the API at %s: %w", g.URL, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		return g.refused(res, text)
	}
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 8*ide.MaxLogLine) // JSON may escape each byte
	for in.Scan() {
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			continue
		}
		var l ide.LogLine
		if err := json.Unmarshal([]byte(data), &l); err != nil {
			return fmt.Errorf("%s is no Berth API: %w", g.URL, err)
		}
		*last = l.ID
		if g.Output == "json" {
			fmt.Fprintln(g.out, data)
		} else {
			fmt.Fprintln(g.out, l.At.Format("2006-01-02T15:04:05.000Z07:00"), l.Text)
		}
	}
	if in.Err() != nil {
		return errCutOff
	}
	return nil
}
