package e2e

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// saved asks for a container whose workspace is in the store, and waits until
// it runs.
func (c *cluster) saved(prefix string) functions.StartAnswer {
	c.t.Helper()
	s := ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start",
		fmt.Sprintf(`{"s3Bucket":"work","s3Prefix":%q,"awsAccessKeyId":%q,"awsSecretAccessKey":%q}`, prefix, s3Key, s3Secret))
	c.succeed(s.Job.ID)
	return s
}

// engineOf returns a client of a node's engine, and the engine's ID of the
// container of ours that runs there.
func (c *cluster) engineOf(node, id string) (*client.Client, string) {
	c.t.Helper()
	e, engineID, err := c.taskContainer(node, id)
	if err != nil {
		c.t.Fatal(err)
	}
	return e, engineID
}

// taskContainer is engineOf where there may be none.
func (c *cluster) taskContainer(node, id string) (*client.Client, string, error) {
	c.t.Helper()
	e, err := client.NewClientWithOpts(client.WithHost(c.lab.Node(node).Sock), client.WithAPIVersionNegotiation())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { e.Close() })
	list, err := e.ContainerList(context.Background(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "berth.id="+id))})
	if err != nil || len(list) != 1 {
		return nil, "", fmt.Errorf("containers of %s on %s: %v, %w", id, node, list, cmp.Or(err, errors.New("want one")))
	}
	return e, list[0].ID, nil
}

// write puts a file into a container's workspace, as a program inside would.
func (c *cluster) write(node, id, name, text string) {
	c.t.Helper()
	e, engineID := c.engineOf(node, id)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o640, Size: int64(len(text)), Uid: 1000, Gid: 1000, ModTime: time.Now()}), second(w.Write([]byte(text))), w.Close())
	if err == nil {
		err = e.CopyToContainer(context.Background(), engineID, ide.WorkspaceDir, &b, container.CopyToContainerOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func second(_ int, err error) error { return err }

// read returns a file of a container's workspace.
func (c *cluster) read(node, id, name string) string {
	c.t.Helper()
	e, engineID := c.engineOf(node, id)
	body, _, err := e.CopyFromContainer(context.Background(), engineID, ide.WorkspaceDir+"/"+name)
	if err != nil {
		c.t.Fatal(err)
	}
	defer body.Close()
	r := tar.NewReader(body)
	if _, err := r.Next(); err != nil {
		c.t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// volumes lists the workspace volumes of a node that are this cluster's.
func (c *cluster) volumes(node string) (names []string) {
	c.t.Helper()
	e, err := client.NewClientWithOpts(client.WithHost(c.lab.Node(node).Sock), client.WithAPIVersionNegotiation())
	if err != nil {
		c.t.Fatal(err)
	}
	defer e.Close()
	list, err := e.VolumeList(context.Background(), volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "berth.instance="+c.instance))})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, v := range list.Volumes {
		names = append(names, v.Name)
	}
	return names
}

// TestWorkspaceComesBack is what users came for: what was written is in the
// bucket after a save and after a stop, for other programs, too, and is there
// again after the next start.
func TestWorkspaceComesBack(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings()...)
	c.worker("n1")
	s := c.saved("alice")
	if a, _ := c.call("POST", "/api/containers/start", fmt.Sprintf(`{"s3Bucket":"work","s3Prefix":"alice/sub","awsAccessKeyId":%q,"awsSecretAccessKey":%q}`, s3Key, s3Secret)); a.code() != ide.Conflict {
		t.Errorf("a second container in the same place: got %s, want a conflict", a)
	}
	c.write("n1", s.ID, "notes.txt", "first")
	j := c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/save", "").ID)
	if got, err := s3.plain("alice/notes.txt"); got != "first" {
		t.Errorf("after the save the bucket has %q, %v; job %+v", got, err, j.Result)
	}
	if l := c.get(s.ID).LastSave; l == nil || l.Generation != 1 || l.Files != 1 {
		t.Errorf("last save: got %+v", l)
	}
	// a burst of writes is saved when it is over, without being asked for
	c.write("n1", s.ID, "burst.txt", "soon")
	c.eventually("the burst is in the bucket", patience, func() error {
		_, err := s3.plain("alice/burst.txt")
		return err
	})
	c.write("n1", s.ID, "notes.txt", "second")
	j = c.succeed(c.stop(s.ID).ID)
	if got, _ := s3.plain("alice/notes.txt"); got != "second" {
		t.Errorf("after the stop the bucket has %q", got)
	}
	got := c.get(s.ID)
	if got.LastSave == nil || !got.LastSave.Verified || got.LastSave.Files != 2 || got.Status != ide.Stopped {
		t.Errorf("after the stop: got %s, %+v", got.Status, got.LastSave)
	}
	if m, v := c.made(), c.volumes("n1"); len(m.services)+len(m.secrets)+len(v) > 0 {
		t.Errorf("the engine still has %+v, volumes %v", m, v)
	}
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/start", "").ID)
	if text := c.read("n1", s.ID, "notes.txt"); text != "second" {
		t.Errorf("after another start the file has %q", text)
	}
	c.succeed(c.stop(s.ID).ID)
}

// TestRefusedBucket: what S3 says of a bucket ends the start with its reason.
func TestRefusedBucket(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings()...)
	c.worker("n1")
	for name, tc := range map[string]struct{ bucket, key, words string }{
		"no bucket":  {"nowhere", s3Secret, "no such bucket"},
		"bad secret": {"work", "wrong-secret-wrong-secret", "secret key is wrong"},
	} {
		s := ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start",
			fmt.Sprintf(`{"s3Bucket":%q,"awsAccessKeyId":%q,"awsSecretAccessKey":%q}`, tc.bucket, s3Key, tc.key))
		j := c.wait(s.Job.ID, patience)
		if j.Status != ide.JobFailed || j.Error.Code != ide.InvalidS3Bucket || !strings.Contains(j.Error.Message, tc.words) {
			t.Errorf("%s: got %s after %d attempts: %v", name, j.Status, j.Attempt, j.Error)
		}
		if m := c.made(); len(m.services)+len(m.secrets) > 0 {
			t.Errorf("%s: the engine has %+v", name, m)
		}
	}
	a, _ := c.call("POST", "/api/containers/start", `{"s3Bucket":"work"}`)
	if a.code() != ide.ValidationFailed {
		t.Errorf("no credentials and no role: got %s", a)
	}
}

// TestCrashKeepsFiles: when the agent and all in the container are killed, what
// was not saved yet is still there when Swarm has started it again, and is
// saved first.
func TestCrashKeepsFiles(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings("SAVE_INTERVAL=600s")...)
	c.worker("n1")
	s := c.saved("crash")
	c.write("n1", s.ID, "f", "not saved yet")
	e, engineID := c.engineOf("n1", s.ID)
	if err := e.ContainerKill(context.Background(), engineID, "KILL"); err != nil {
		t.Fatal(err)
	}
	c.eventually("Swarm's next task saves it", patience, func() error {
		got, err := s3.plain("crash/f")
		if err == nil && got != "not saved yet" {
			err = fmt.Errorf("the bucket has %q", got)
		}
		return err
	})
	c.succeed(c.stop(s.ID).ID)
}

// TestStopOnALostNode: a node that does not answer keeps the files; once it is
// back they are saved, and nothing is left on it.
func TestStopOnALostNode(t *testing.T) {
	l := lab.Open(t)
	l.Need(2)
	s3 := newStore(t, l)
	c := newCluster(t, s3.settings("SAVE_DEADLINE=5s")...)
	c.worker("n1")
	w := c.worker("n2")
	var s functions.StartAnswer
	node := ""
	for i := 0; node != "n2"; i++ {
		if i == 4 {
			t.Fatal("no container was placed on n2")
		}
		s = c.saved(fmt.Sprintf("lost-%d", i))
		nodes, err := c.store.Nodes(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if n.ID == c.get(s.ID).Node {
				node = n.Hostname
			}
		}
	}
	prefix := c.get(s.ID).S3Prefix
	c.write("n2", s.ID, "f", "kept")
	c.end(w, syscall.SIGKILL) // a power cut takes it along
	l.StopEngine("n2", lab.Power)
	j := c.wait(c.stop(s.ID).ID, 2*patience)
	if got := c.get(s.ID); j.Status != ide.JobFailed || j.Error.Code != ide.WorkspaceUnsaved || !got.Unsaved {
		t.Fatalf("got job %s %v, unsaved %t", j.Status, j.Error, got.Unsaved)
	}
	l.StartEngine("n2")
	c.eventually("Swarm has put an edge there again", patience, func() error {
		return l.EdgeCommand(context.Background(), "n2", "true").Run()
	})
	c.worker("n2")
	c.succeed(c.stop(s.ID).ID)
	if got, err := s3.plain(prefix + "/f"); got != "kept" {
		t.Errorf("the bucket has %q, %v", got, err)
	}
	c.eventually("its volume is gone", patience, func() error {
		if v := c.volumes("n2"); len(v) > 0 {
			return fmt.Errorf("there is %v", v)
		}
		return nil
	})
}
