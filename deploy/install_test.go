package deploy_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// An upgrade deploys with what install.sh has kept: a setting that is not kept
// would fall back to its default then, without a word.
func TestInstallKeepsEverySettingOfTheStack(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("install.sh")
	if err != nil {
		t.Fatal(err)
	}
	kept := strings.Fields(string(regexp.MustCompile(`(?s)\nkept=\((.*?)\)`).FindSubmatch(script)[1]))
	files, err := filepath.Glob("traefik/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "stack.yaml", "socket-proxy.yaml") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\$\{([A-Z0-9_]+)`).FindAllSubmatch(text, -1) {
			if v := string(m[1]); v != "TRAEFIK_CONFIG" && !slices.Contains(kept, v) { // which is a digest
				t.Errorf("%s: install.sh does not keep %s", name, v)
			}
		}
	}
}

// rehearse runs install.sh --dry-run where no engine answers.
func rehearse(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("./install.sh", append([]string{"--domain", "example.org", "--email", "me@example.org", "--certificates", "http01",
		"--image", "registry.example.org/berth:1", "--advertise-addr", "192.0.2.1", "--dry-run"}, args...)...)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "BERTH_ETC="+t.TempDir(), "DOCKER_HOST=unix:///nonexistent")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "are known. Elsewhere") {
		t.Skip("install.sh does not know this system")
	}
	return string(out), err
}

func TestInstallLaysFilesOverTheStack(t *testing.T) {
	t.Parallel()
	own := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(own, []byte("version: \"3.9\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := rehearse(t, nil, "--layers", "socket-proxy.yaml "+own)
	here, werr := os.Getwd()
	if want := " --compose-file=" + here + "/socket-proxy.yaml --compose-file=" + own + " berth\n"; err != nil || werr != nil || !strings.Contains(out, want) {
		t.Errorf("%v, %v, without %q:\n%s", err, werr, want, out)
	}
	if out, err := rehearse(t, nil, "--layers", "own.yaml"); err == nil || !strings.Contains(out, "own.yaml is neither a file of") {
		t.Errorf("a file that is not there: %v\n%s", err, out)
	}
}

// A key that is made in the place of one that was meant opens nothing.
func TestInstallMakesNoKeyUnderAnotherName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"API_KEY_NAME", "SECRET_KEY_NAME"} {
		if out, err := rehearse(t, []string{name + "=berth-2"}); err == nil || !strings.Contains(out, "there is no secret berth-2") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestAnUndoneUpdateIsToldAtOnce: Swarm has rolled back the update of the API,
// whose list of tasks is longer than a pipe holds.
func TestAnUndoneUpdateIsToldAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // it waits 300 s for a service that may still come
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", `. ./install.bash
docker() {
  case "$1 $2 $*" in
    "service inspect "*_api*) echo rollback_completed ;;
    "service inspect "*) echo completed ;;
    "service ls "*) echo 2/2 ;;
    "service ps "*) for n in {1..3000}; do echo "berth_api.$n  a task that has failed"; done ;;
    "service logs "*) echo "berth: reach redis: no such host" ;;
  esac
}
await_health`)
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 1 || ctx.Err() != nil {
		t.Errorf("got %v, want exit code 1 at once", err)
	}
	for _, want := range []string{"berth_redis runs", "berth_api.1 ", "reach redis: no such host", "the service berth_api does not come up"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not told:\n%s", want, out)
		}
	}
}
