package e2e

import (
	"bytes"
	"net/http"
	"os/exec"
	"testing"

	"berth/internal/lab"
	"berth/internal/leaktest"
)

// TestEngineShowsNoSecret looks for a container's secrets in everything that a
// real engine tells of it.
func TestEngineShowsNoSecret(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings()...)
	c.worker("n1")
	s := c.saved("secrets")
	shown := ask[struct{ VNCPassword, CodeServerPassword string }](c, http.StatusOK, "GET", "/api/containers/"+s.ID+"/credentials", "")
	_, engineID := c.engineOf("n1", s.ID)
	docker := func(args ...string) []byte {
		t.Helper()
		out, err := exec.Command("docker", append([]string{"-H", c.lab.Node("n1").Sock}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
		return out
	}
	var told bytes.Buffer
	tasks := bytes.Fields(docker("service", "ps", "-q", "--no-trunc", s.ServiceName))
	for _, args := range [][]string{
		{"service", "inspect", s.ServiceName}, {"inspect", engineID}, {"logs", engineID}, {"network", "inspect", "ide-network"},
		{"config", "inspect", "berth-" + c.instance + "-" + s.ID}, {"secret", "inspect", s.ID + "-1"}, {"inspect", "--type", "task", string(tasks[0])},
	} {
		told.Write(docker(args...))
	}
	if shown.VNCPassword == "" || shown.CodeServerPassword == "" {
		t.Fatalf("no passwords are shown: %+v", shown)
	}
	for name, secret := range map[string]string{"S3 secret key": s3Secret, "desktop": shown.VNCPassword, "editor": shown.CodeServerPassword} {
		if form := leaktest.Find(told.String(), secret); form != "" {
			t.Errorf("%s: it stands there as %s", name, form)
		}
	}
	if !bytes.Contains(told.Bytes(), []byte(s.ID)) {
		t.Errorf("the engine has told nothing of it: %s", told.String())
	}
}
