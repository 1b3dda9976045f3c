package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// web is the dashboard's source, which has its own tests in a browser.
const web = "../../dashboard/web"

// TestDashboard does in Chromium what an operator does, from the login to the
// revoked key: dashboard/web/e2e/flows.spec.ts says what.
func TestDashboard(t *testing.T) {
	c := newCluster(t, "HIGH_WATER_CPU=0")
	c.needDashboard()
	c.worker("n1")
	c.worker("n2")
	cmd := exec.CommandContext(t.Context(), filepath.Join("node_modules", ".bin", "playwright"), "test", "--project=flows")
	cmd.Dir = web
	cmd.Env = append(os.Environ(), "BASE_URL=http://"+c.forwardTo(c.apiPort), "ADMIN_KEY="+adminKey, "DRAIN_NODE=n2",
		"HOST_RULES=MAP *.ide.localhost "+c.forward(), "PLAYWRIGHT_OUTPUT="+t.TempDir(), "FORCE_COLOR=0")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the flows: %v", err)
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
