package swarm_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/lab"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// Images of swarmtest/agent by what their program does.
const (
	imageServes = "berth-swarmtest:serves"
	imageExits  = "berth-swarmtest:exits"
	imageEats   = "berth-swarmtest:eats"
)

// realLab returns the lab, whose first node has the images. Without a lab the
// test is skipped, unless LAB_REQUIRED says that there must be one.
func realLab(t *testing.T) (*lab.Lab, *client.Client) {
	t.Helper()
	if os.Getenv("LAB_DIR") == "" && os.Getenv("LAB_REQUIRED") != "1" {
		t.Skip("needs a real Swarm: LAB_DIR is not set (see deploy/lab)")
	}
	l := lab.Open(t)
	d, err := client.NewClientWithOpts(client.WithHost(l.Nodes[0].Sock), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := loadImages(d); err != nil {
		t.Fatal(err)
	}
	return l, d
}

var (
	loadOnce sync.Once
	loadErr  error
)

// loadImages compiles the test's agent and imports it, once, under several
// entry points.
func loadImages(d *client.Client) error {
	loadOnce.Do(func() { loadErr = importImages(d) })
	return loadErr
}

func importImages(d *client.Client) error {
	dir, err := os.MkdirTemp("", "berth-swarmtest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, "./swarmtest/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	for ref, entry := range map[string]string{
		imageServes: `["/agent"]`,
		imageExits:  `["/agent", "exit", "3"]`,
		imageEats:   `["/agent", "eat"]`,
	} {
		var layer bytes.Buffer
		w := tar.NewWriter(&layer)
		if err := w.WriteHeader(&tar.Header{Name: "agent", Mode: 0o755, Size: int64(len(data))}); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		out, err := d.ImageImport(context.Background(), image.ImportSource{Source: &layer, SourceName: "-"}, ref,
			image.ImportOptions{Changes: []string{"ENTRYPOINT " + entry}})
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, out)
		out.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// realClient returns a client of an instance of its own.
func realClient(t *testing.T, l *lab.Lab) (*swarm.Client, swarmtest.Env) {
	t.Helper()
	env := swarmtest.Env{
		Config:  swarm.Config{Host: l.Nodes[0].Sock, Instance: "t-" + ide.NewID(), Network: "ide-network", StopGrace: 5 * time.Second, ExecRoot: l.Nodes[0].ExecRoot},
		Image:   imageServes,
		Missing: "berth-swarmtest:missing",
		Exiting: imageExits,
		Timeout: 2 * time.Minute,
	}
	c, err := swarm.New(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env.Node = info.NodeID
	return c, env
}

func TestExerciseReal(t *testing.T) {
	t.Parallel()
	l, _ := realLab(t)
	swarmtest.Exercise(t, func(t *testing.T) (*swarm.Client, swarmtest.Env) { return realClient(t, l) })
}
