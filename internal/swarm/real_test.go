package swarm_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

// realLab returns the lab, whose nodes have the images. Without a lab the
// test is skipped, unless LAB_REQUIRED says that there must be one.
func realLab(t testing.TB) (*lab.Lab, []*client.Client) {
	t.Helper()
	if os.Getenv("LAB_DIR") == "" && os.Getenv("LAB_REQUIRED") != "1" {
		t.Skip("needs a real Swarm: LAB_DIR is not set (see deploy/lab)")
	}
	l := lab.Open(t)
	var engines []*client.Client
	for _, n := range l.Nodes {
		d, err := client.NewClientWithOpts(client.WithHost(n.Sock), client.WithAPIVersionNegotiation())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		engines = append(engines, d)
	}
	loadOnce.Do(func() { loadErr = importImages(engines) })
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	return l, engines
}

var (
	loadOnce sync.Once
	loadErr  error
)

// importImages compiles the test's agent and imports it on every engine, under
// several entry points.
func importImages(engines []*client.Client) error {
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
		for _, d := range engines {
			out, err := d.ImageImport(context.Background(), image.ImportSource{Source: bytes.NewReader(layer.Bytes()), SourceName: "-"}, ref,
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

// TestOutOfMemoryReal: Swarm says "non-zero exit (137)" and no more; the engine
// that ran the container knows why.
func TestOutOfMemoryReal(t *testing.T) {
	t.Parallel()
	l, _ := realLab(t)
	c, env := realClient(t, l)
	rec := newContainer(imageEats)
	rec.Node, rec.Resources = env.Node, ide.Resources{MemoryLimit: 32 << 20, PIDs: 50}
	start(t, c, rec)
	t.Cleanup(func() { stop(t, c, rec) })
	ctx, cancel := context.WithTimeout(t.Context(), env.Timeout)
	defer cancel()
	_, err := c.WaitRunning(ctx, rec, nil)
	if err == nil { // it had run for a moment before the kernel came
		<-time.After(time.Second)
		_, err = c.WaitRunning(ctx, rec, nil)
	}
	got, want := ide.AsError(err).Message, "The container ran out of memory: 32 MiB are too little for it."
	if !ide.HasCode(err, ide.ContainerStartFailed) || got != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestNoAddressReal: Swarm leaves a task "new" without a word when the pool of
// its network is empty.
func TestNoAddressReal(t *testing.T) {
	t.Parallel()
	l, engines := realLab(t)
	_, env := realClient(t, l)
	env.Config.Network = env.Config.Instance
	env.Config.Subnet = fmt.Sprintf("10.%d.%d.0/29", 180+rand.N(60), rand.N(250))
	c, err := swarm.New(env.Config)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.EnsureNetwork(t.Context()))
	t.Cleanup(func() { removeNetwork(t, engines[0], env.Config.Network) })
	// 8 addresses, less 3 and what each node takes. Those that run keep theirs: which of several that wait for one
	// gets it is not known.
	for range 6 {
		rec := newContainer(env.Image)
		rec.Node, rec.Resources = env.Node, ide.Resources{MemoryLimit: 64 << 20, PIDs: 50}
		start(t, c, rec)
		t.Cleanup(func() { stop(t, c, rec) })
		ctx, cancel := context.WithTimeout(t.Context(), env.Timeout)
		defer cancel()
		if _, err = c.WaitRunning(ctx, rec, nil); err != nil {
			break
		}
	}
	if got, want := ide.AsError(err).Message, "The containers' network has no free address."; got != want || ide.IsPermanent(err) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestOtherNodeReal: a container on a node whose engine is not asked, and the
// end of that node.
func TestOtherNodeReal(t *testing.T) {
	l, engines := realLab(t)
	if len(engines) < 2 {
		t.Skip("needs a lab of two nodes")
	}
	c, env := realClient(t, l)
	ctx, cancel := context.WithTimeout(t.Context(), env.Timeout)
	defer cancel()
	last := len(engines) - 1
	info, err := engines[last].Info(ctx)
	must(t, err)
	rec := newContainer(env.Image)
	rec.Node, rec.Resources = info.Swarm.NodeID, ide.Resources{MemoryLimit: 64 << 20, PIDs: 50}
	start(t, c, rec)
	t.Cleanup(func() { stop(t, c, rec) })
	began := time.Now()
	task, err := c.WaitRunning(ctx, rec, nil)
	must(t, err)
	if task.Node != rec.Node || task.Address == "" {
		t.Errorf("task is %+v", task)
	}
	t.Logf("running after %v", time.Since(began).Round(time.Millisecond))

	exits := newContainer(env.Exiting)
	exits.Node, exits.Resources = rec.Node, rec.Resources
	start(t, c, exits)
	t.Cleanup(func() { stop(t, c, exits) })
	for err = nil; err == nil && ctx.Err() == nil; { // each restart counts as running, for a moment
		_, err = c.WaitRunning(ctx, exits, nil)
	}
	if !ide.HasCode(err, ide.ContainerStartFailed) || !ide.IsPermanent(err) {
		t.Errorf("a program that ends at once: %v", err)
	}

	l.Cut(l.Nodes[last].Name)
	must(t, c.RemoveService(ctx, rec.ID, 1))
	began = time.Now()
	if err := c.WaitGone(ctx, rec.ID, 1); !errors.Is(err, swarm.ErrNodeDown) {
		t.Errorf("node cut off: %v", err)
	}
	t.Logf("known to be down after %v", time.Since(began).Round(time.Millisecond))
	l.Heal(l.Nodes[last].Name)
	for err = swarm.ErrNodeDown; errors.Is(err, swarm.ErrNodeDown) && ctx.Err() == nil; {
		err = c.WaitGone(ctx, rec.ID, 1)
	}
	must(t, err)
}

// stop removes what start has made.
func stop(t *testing.T, c *swarm.Client, rec ide.Container) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(t, errors.Join(c.RemoveService(ctx, rec.ID, rec.Run), c.WaitGone(ctx, rec.ID, rec.Run), c.RemoveSecret(ctx, rec.ID, rec.Run)))
}
