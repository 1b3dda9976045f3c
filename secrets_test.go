package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"berth/internal/leaktest"
	"berth/internal/redistest"
	"berth/internal/swarm/swarmtest"
)

// seen is every text that the program has let out, by where.
type seen map[string]string

// caller speaks to the program and keeps what it answers.
type caller struct {
	*testing.T
	address string
	seen    seen
}

// call sends a request and decodes the answer into out. private answers show
// secrets to whom they belong, and are not searched.
func (c caller) call(key, method, path, body string, private bool, out any) int {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), method, "http://"+c.address+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Host = "berth.test"
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	if !private {
		var head strings.Builder
		_ = res.Header.Write(&head) // to memory
		c.seen["answer of "+method+" "+path+" "+res.Status] = head.String() + string(text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			c.Fatalf("%s %s: %d %s: %v", method, path, res.StatusCode, text, err)
		}
	}
	return res.StatusCode
}

// No secret that the program is given or makes is found in Redis, the engine,
// the log, the event stream or an answer, but where a key's owner asks for it.
// functions/secrets_test.go follows a container to the end of its life; this
// is about the whole program.
func TestNoSecretLeavesTheProgram(t *testing.T) {
	t.Parallel()
	rdb, engine := redistest.New(t), swarmtest.NewServer(t)
	const s3Secret = `s3/Secret+of"the&operator<0123456789`
	p := launch(t, "up", settings(t, "REDIS_URL=redis-socket://"+rdb.Options().Addr, "LOG_LEVEL=debug", "RATE_LIMIT=0", "WEBHOOK_ALLOW=127.0.0.0/8", "DOCKER_HOST="+engine.Host(),
		"S3_ENDPOINT=none", "S3_ROLE_ARN=arn:aws:iam::123456789012:role/berth", "S3_ACCESS_KEY_ID=AKIAOPERATOR7EXAMPLE", "S3_SECRET_ACCESS_KEY="+s3Secret)...)
	c := caller{t, p.address(), seen{}}
	planted := map[string]string{
		"API key of the environment": testKey, "SECRET_KEY": testSecret, "operator's S3 key ID": "AKIAOPERATOR7EXAMPLE", "operator's S3 secret": s3Secret,
		"VNC password": `p"w/<&+`, "AWS secret": `wJalrX/K7MDENG+bPx"<RfiC&YEXAMPLE`, "AWS key ID": "AKIAIOSFODNN7EXAMPLE",
	}
	stream := c.listen()

	// What gives secrets to the program, or has it make some, stands here; each is planted.
	var key struct{ Key string }
	c.call(testKey, "POST", "/api/keys", `{"name":"course-1","role":"client"}`, true, &key)
	planted["API key made at run time"] = key.Key
	hooked := make(chan string, 100)
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		hooked <- fmt.Sprint(r.Header, string(body))
	}))
	t.Cleanup(sink.Close)
	var hook struct{ Secret string }
	c.call(key.Key, "POST", "/api/webhooks", `{"url":"`+sink.URL+`"}`, true, &hook)
	planted["webhook's secret that was made"] = strings.TrimPrefix(hook.Secret, "whsec_")
	planted["webhook's secret that was given"] = base64.StdEncoding.EncodeToString([]byte("a secret that nobody may ever see"))
	start, err := json.Marshal(map[string]any{"s3Bucket": "workspace", "vncPassword": planted["VNC password"],
		"awsAccessKeyId": planted["AWS key ID"], "awsSecretAccessKey": planted["AWS secret"],
		"webhook": map[string]string{"url": sink.URL, "secret": "whsec_" + planted["webhook's secret that was given"]}})
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		ID  string
		Job struct{ ID string }
	}
	until(t, "a start is admitted", func() bool { // once a manager has told of its node
		return c.call(key.Key, "POST", "/api/containers/start", string(start), false, &made) == http.StatusAccepted
	})
	var passwords struct{ CodeServerPassword string }
	c.call(key.Key, "GET", "/api/containers/"+made.ID+"/credentials", "", true, &passwords)
	planted["code-server password"] = passwords.CodeServerPassword

	until(t, "the start has come as far as it does without an agent", func() bool {
		var job struct{ Steps []struct{ Name string } }
		c.call(key.Key, "GET", "/api/jobs/"+made.Job.ID, "", false, &job)
		return slices.ContainsFunc(job.Steps, func(s struct{ Name string }) bool { return s.Name == "task" })
	})
	c.look(engine)
	c.wrong(key.Key, planted)
	c.call(key.Key, "DELETE", "/api/containers/"+made.ID+"?force=true", "", false, nil)
	until(t, "it is stopped", func() bool {
		var got struct{ Status string }
		c.call(key.Key, "GET", "/api/containers/"+made.ID, "", false, &got)
		return got.Status == "stopped" || got.Status == "failed"
	})
	c.seen["a webhook"], c.seen["another webhook"] = <-hooked, <-hooked
	for _, path := range []string{"/api/containers", "/api/jobs", "/api/webhooks", "/api/keys", "/api/containers/" + made.ID + "/events", "/dashboard", "/metrics", "/api/health"} {
		c.call(testKey, "GET", path, "", false, nil)
	}
	redis, err := leaktest.Redis(t.Context(), rdb)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range redis {
		c.seen["at the end: "+where] = text
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	c.seen["the event stream"], c.seen["the log"] = <-stream, p.log.String()
	if !strings.Contains(c.seen["the event stream"], made.ID) || !strings.Contains(c.seen["the log"], made.ID) {
		t.Errorf("stream or log do not tell of the container: %q", c.seen["the event stream"])
	}
	for where, text := range c.seen {
		for what, secret := range planted {
			if form := leaktest.Find(text, secret); form != "" {
				t.Errorf("%s: %s in %s", what, form, where)
			}
		}
	}
	if len(c.seen) < 50 {
		t.Errorf("only %d places were looked at", len(c.seen))
	}
}

// listen follows the event stream until the program ends.
func (c caller) listen() <-chan string {
	c.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(c.Context()), http.MethodGet, "http://"+c.address+"/api/events", nil)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	res, err := transport.RoundTrip(req)
	if err != nil {
		c.Fatal(err)
	}
	all := make(chan string, 1)
	go func() {
		defer res.Body.Close()
		var text strings.Builder
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			text.WriteString(lines.Text() + "\n")
		}
		all <- text.String()
	}()
	return all
}

// wrong sends secrets where they are refused: in a place that is not theirs,
// in a broken body, in a path.
func (c caller) wrong(key string, planted map[string]string) {
	for what, secret := range planted {
		text, err := json.Marshal(secret)
		if err != nil {
			c.Fatal(err)
		}
		for _, body := range []string{`{"s3Bucket":"workspace","image":` + string(text) + `}`, `{"s3Bucket":"workspace","vncPassword":[` + string(text) + `]}`, `{"s3Bucket":"workspace","surprise":` + string(text) + `}`, `{"s3Bucket":` + string(text)} {
			if status := c.call(key, "POST", "/api/containers/start", body, false, nil); status != http.StatusBadRequest {
				c.Errorf("%s in %q: got %d", what, body, status)
			}
		}
	}
}

// look keeps all that the engine holds now.
func (c caller) look(engine *swarmtest.Server) {
	c.Helper()
	host := "http" + strings.TrimPrefix(engine.Host(), "tcp")
	for _, kind := range []string{"services", "configs", "secrets", "tasks", "networks", "nodes"} {
		res, err := (&http.Client{Transport: transport}).Get(host + "/" + kind)
		if err != nil {
			c.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			c.Fatal(err)
		}
		if (kind == "services" || kind == "configs") && len(text) < 10 {
			c.Errorf("the engine has no %s: the start did not come so far", kind)
		}
		c.seen["engine's "+kind] = string(text)
	}
}
