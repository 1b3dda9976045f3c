package openapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/redistest"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"
	"berth/worker"
)

// withWorker gives the API a Swarm and a worker, and containers that answer.
func (b *bench) withWorker() {
	b.Helper()
	engine, err := swarm.New(swarm.Config{Host: swarmtest.NewServer(b).Host(), Instance: "test", Tolerance: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ready":true}`) }))
	b.Cleanup(inside.Close)
	deps := *b.deps
	deps.Swarm, deps.EdgeURL = engine, "http://edge.test"
	deps.HTTP = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", inside.Listener.Addr().String())
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	w := worker.New(b.rdb, &deps, worker.Config{Version: "v9", Concurrency: 4, Grace: time.Second})
	go func() { done <- w.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("worker: %v", err)
		}
		engine.Close()
	})
}

// commands are the lines of a text's sh blocks.
func commands(text string) (lines []string) {
	inside := false
	for line := range strings.Lines(text) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && line != "":
			lines = append(lines, line)
		}
	}
	return lines
}

// TestGuide runs the commands of the guide as they stand, one after the
// other, in one shell.
func TestGuide(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl", "jq", "openssl", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the guide's commands need %s, which is not in PATH", program)
		}
	}
	b := newBench(t)
	if err := b.st.PublishNodes(t.Context(), nil); err != nil { // the worker tells of its own
		t.Fatal(err)
	}
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b.deps.Settings.WebhookAllow, b.deps.Settings.WebhooksPerKey, b.deps.Hooks = loopback, 10, functions.WebhookClient(loopback)
	b.follow()
	b.withWorker()
	srv := httptest.NewServer(b.api)
	t.Cleanup(srv.Close)
	reported := func() bool {
		nodes, err := b.st.Nodes(t.Context())
		return err == nil && len(nodes) > 0
	}
	for looks := 0; !reported(); looks++ { // until the worker has told of its node
		if looks == 6000 {
			t.Fatal("no node was reported")
		}
		time.Sleep(10 * time.Millisecond)
	}
	lines := commands(guide)
	if len(lines) < 10 {
		t.Fatalf("the guide has %d commands", len(lines))
	}
	const mark = "the command ended with "
	var script strings.Builder
	script.WriteString("set -o pipefail\n")
	for _, line := range lines {
		fmt.Fprintf(&script, "%s\necho '%s'$?\n", line, mark)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash")
	shell.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "NO_PROXY=*", "BERTH_URL=" + srv.URL, "BERTH_API_KEY=" + aliceKey,
		fmt.Sprint("HOOK_PORT=", redistest.Port(t)), "TMPDIR=" + t.TempDir()}
	shell.Stdin = strings.NewReader(script.String())
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Errorf("bash: %v", err)
	}
	done, said := 0, ""
	for text := bufio.NewScanner(strings.NewReader(string(out))); text.Scan(); {
		code, ended := strings.CutPrefix(text.Text(), mark)
		if !ended {
			said += text.Text() + "\n"
			continue
		}
		if code != "0" {
			t.Errorf("%s\nended with %s and said:\n%s", lines[done], code, said)
		}
		done, said = done+1, ""
	}
	if done != len(lines) {
		t.Errorf("%d of %d commands were run; the last said %s", done, len(lines), said)
	}
}

func TestReferenceNamesEverything(t *testing.T) {
	t.Parallel()
	doc := Document("v9")
	text := Markdown(doc)
	if number := regexp.MustCompile("[0-9]e\\+[0-9]+").FindString(text); number != "" {
		t.Errorf("a number is written as %s", number)
	}
	for path, item := range doc.Paths {
		for method, has := range map[string]bool{"GET": item.Get != nil, "POST": item.Post != nil, "DELETE": item.Delete != nil} {
			if heading := "#### " + method + " " + path + "\n"; has != strings.Contains(text, heading) {
				t.Errorf("%s %s is an operation: %t", method, path, has)
			}
		}
	}
	for name := range doc.Components.Schemas.Map() {
		if !strings.Contains(text, "### "+name+"\n") {
			t.Errorf("the type %s is not described", name)
		}
	}
	for code := range statuses {
		if !strings.Contains(guide, string(code)) {
			t.Errorf("the guide does not name %s", code)
		}
	}
}
