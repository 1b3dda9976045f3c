package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"berth/internal/ide"
	"berth/internal/lab"
	"berth/openapi"
)

// web is the dashboard's source, which has its own tests in a browser.
const web = "../../dashboard/web"

// TestDashboard does in Chromium what an operator does, from the login to the
// revoked key: dashboard/web/e2e/flows.spec.ts says what.
func TestDashboard(t *testing.T) {
	l := lab.Open(t)
	l.Need(2)
	c := newCluster(t, "HIGH_WATER_CPU=0", "WEBHOOK_ALLOW="+l.ClientAddr+"/32")
	c.needDashboard()
	c.worker("n1")
	c.worker("n2")
	gone := c.lab.Join(3)
	c.nodeIs(gone.Name, "known", patience, func(n openapi.NodeRow) bool { return n.State == "ready" })
	if out, err := exec.Command("docker", "-H", gone.Sock, "swarm", "leave").CombinedOutput(); err != nil {
		t.Fatalf("leave: %v: %s", err, out)
	}
	c.nodeIs(gone.Name, "down", patience, func(n openapi.NodeRow) bool { return n.State == "down" })
	c.play("flows", "DRAIN_NODE=n2", "GONE_NODE="+gone.Name, "HOOK_URL="+c.mailbox(), "HOST_RULES=MAP *.ide.localhost "+c.forward())
}

// mailbox is an endpoint that workers reach, which takes every message, and
// answers GET with the ID of each and by how many secrets it is signed.
func (c *cluster) mailbox() string {
	c.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(c.lab.ClientAddr, "0"))
	if err != nil {
		c.t.Fatal(err)
	}
	type message struct {
		ID         string `json:"id"`
		Signatures int    `json:"signatures"`
	}
	var mu sync.Mutex
	took := []message{}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			took = append(took, message{r.Header.Get("webhook-id"), len(strings.Fields(r.Header.Get("webhook-signature")))})
			return
		}
		if err := json.NewEncoder(w).Encode(took); err != nil {
			c.t.Error(err)
		}
	})}
	go srv.Serve(l)
	c.t.Cleanup(func() { srv.Close() })
	return fmt.Sprintf("http://%s/", l.Addr())
}

// TestDashboardOfWorkspaces does in Chromium what an operator does about saves,
// with a store that fails when the pages' test says so:
// dashboard/web/e2e/saves.spec.ts says what.
func TestDashboardOfWorkspaces(t *testing.T) {
	s3 := newStore(t, lab.Open(t))
	file := filepath.Join(t.TempDir(), "templates.yaml")
	// Each run leaves a file of its own.
	text := "templates:\n- {name: writer, image: '" + fullImage + "', resources: {cpuLimit: 2, memoryLimit: 1g}, webCommand: 'touch \"run-$(date +%s%N)\"; exec sleep infinity'}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, s3.settings("TEMPLATES="+file)...)
	c.needDashboard()
	c.needFull()
	c.worker("n1")
	prefix := "ws-" + ide.NewID()
	faults := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(r.URL.Query().Get("status"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s3.refuse(status)
		files, err := filepath.Glob(filepath.Join(s3.dir, "work", prefix, "run-*"))
		if err == nil {
			err = json.NewEncoder(w).Encode(files)
		}
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(faults.Close)
	c.play("saves", "BUCKET=work", "PREFIX="+prefix, "S3_KEY="+s3Key, "S3_SECRET="+s3Secret, "STORE_FAULTS="+faults.URL)
}

// play runs a project of the dashboard's Playwright tests against the cluster.
func (c *cluster) play(project string, env ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join("node_modules", ".bin", "playwright"), "test", "--project="+project)
	cmd.Dir = web
	cmd.Env = append(append(os.Environ(), "BASE_URL=http://"+c.forwardTo(c.apiPort), "ADMIN_KEY="+adminKey,
		"PLAYWRIGHT_OUTPUT=test-results/"+project, "FORCE_COLOR=0"), env...) // screenshots of what fails stay there
	out, err := cmd.CombinedOutput()
	c.t.Logf("%s", out)
	if err != nil {
		c.t.Errorf("%s: %v", project, err)
	}
}

// needDashboard skips the test where the program was built without the
// dashboard, or the packages of its tests are not here; where CI is set and
// there is an npm it fails.
func (c *cluster) needDashboard() {
	c.t.Helper()
	lack := ""
	if res, err := c.http.Get("http://localhost/dashboard/"); err != nil {
		c.t.Fatal(err)
	} else if res.Body.Close(); res.StatusCode != http.StatusOK {
		lack = "needs a program with the dashboard: make ui build"
	}
	if _, err := os.Stat(filepath.Join(web, "node_modules", ".bin", "playwright")); err != nil {
		lack = "needs the packages of dashboard/web: make ui"
	}
	_, err := exec.LookPath("npm")
	switch ci := os.Getenv("CI"); {
	case lack == "":
	case ci == "" || ci == "false" || err != nil:
		c.t.Skip(lack)
	default:
		c.t.Fatal(lack)
	}
}
