package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/openapi"
)

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// code is the error's code.
func (a answer) code() ide.Code {
	var e openapi.Envelope
	_ = json.Unmarshal(a.body, &e)
	if e.Err == nil {
		return ""
	}
	return e.Err.Code
}

// call asks the API as admin; headers are given as pairs.
func (c *cluster) call(method, path, body string, headers ...string) (answer, error) {
	return c.callOn(c.http, method, path, body, headers...)
}

// callOn asks one of several API processes.
func (c *cluster) callOn(api *http.Client, method, path, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := api.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

// ask calls and expects a status.
func ask[T any](c *cluster, want int, method, path, body string, headers ...string) T {
	c.t.Helper()
	var out T
	a, err := c.call(method, path, body, headers...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != want {
		c.t.Fatalf("%s %s: got %s, want %d", method, path, a, want)
	}
	if len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &out); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, a)
		}
	}
	return out
}

// create asks for a container with a bucket of its own.
func (c *cluster) create() functions.StartAnswer {
	c.t.Helper()
	return ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start", fmt.Sprintf(`{"s3Bucket":"ws-%s"}`, ide.NewID()))
}

// stop asks for a stop.
func (c *cluster) stop(id string) ide.Job {
	c.t.Helper()
	return ask[ide.Job](c, http.StatusAccepted, "DELETE", "/api/containers/"+id, "")
}

// wait returns a job when it has ended.
func (c *cluster) wait(job string, within time.Duration) ide.Job {
	c.t.Helper()
	for left := within; ; {
		began := time.Now()
		j := ask[ide.Job](c, http.StatusOK, "GET", "/api/jobs/"+job+"?wait=10", "")
		if j.Status.Ended() {
			return j
		}
		if left -= min(time.Since(began), 11*time.Second); left <= 0 { // as poll has it
			text, _ := json.Marshal(j)
			c.t.Fatalf("job has not ended within %s: %s", within, text)
		}
	}
}

// succeed waits for a job and expects that it succeeded.
func (c *cluster) succeed(job string) ide.Job {
	c.t.Helper()
	j := c.wait(job, 2*patience)
	if j.Status != ide.JobSucceeded {
		text, _ := json.Marshal(j)
		c.t.Fatalf("job %s: got %s", j.Status, text)
	}
	return j
}

func (c *cluster) get(id string) openapi.ContainerAnswer {
	c.t.Helper()
	return ask[openapi.ContainerAnswer](c, http.StatusOK, "GET", "/api/containers/"+id, "")
}

// open fetches a container's URL through the gateway.
func (c *cluster) open(url string) answer {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html") // as a browser does
	res, err := c.edge.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, b}
}
