package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/internal/ide"
	"berth/internal/lab"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
)

// volumeDir is the folder of a container's volume on a node.
func (c *cluster) volumeDir(node, id string) string {
	c.t.Helper()
	v, err := c.clientOf(node).VolumeInspect(context.Background(), "berth-"+c.instance+"-"+id)
	if err != nil {
		c.t.Fatal(err)
	}
	return v.Mountpoint
}

// own makes a file uid 1000's.
func own(t testing.TB, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chown(name, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsLost does to files what people and programs do, and looks for them
// after a stop that has succeeded, or for the volume after one that has not.
func TestNothingIsLost(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings("SAVE_INTERVAL=600s")...)
	c.worker("n1")
	for name, see := range map[string]func(*cluster, *bucketStore){
		"FilesClosedToTheirOwner": filesClosedToTheirOwner, "FileOverTheLimit": fileOverTheLimit, "NotesRemovedAndKilled": notesRemovedAndKilled,
		"OtherPeoplesObjects": otherPeoplesObjects, "LastSaveIsGone": lastSaveIsGone, "SetAside": setAside,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			see(c.in(t), s3)
		})
	}
}

func filesClosedToTheirOwner(c *cluster, s3 *bucketStore) {
	s := c.saved("closed")
	ws := filepath.Join(c.volumeDir("n1", s.ID), "workspace")
	for name, mode := range map[string]os.FileMode{"f000": 0, "d000/f": 0o200, "d000": 0} {
		p := filepath.Join(ws, name)
		if name == "d000" {
			continue // last
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("1"), 0o600); err != nil {
			c.t.Fatal(err)
		}
		own(c.t, p, mode)
	}
	own(c.t, filepath.Join(ws, "d000"), 0)
	c.succeed(c.stop(s.ID).ID)
	if got := c.get(s.ID).LastSave; got == nil || got.Files != 2 || got.LeftOut != 0 || !got.Verified {
		c.t.Errorf("lost: the last save is %+v", got)
	}
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/start", "").ID)
	ws = filepath.Join(c.volumeDir("n1", s.ID), "workspace")
	for name, mode := range map[string]os.FileMode{"f000": 0, "d000/f": 0o200, "d000": 0} {
		info, err := os.Stat(filepath.Join(ws, name))
		if err != nil || info.Mode().Perm() != mode {
			c.t.Errorf("lost: %s is %v, %v, want mode %v", name, info, err, mode)
		}
	}
	if b, err := os.ReadFile(filepath.Join(ws, "d000/f")); err != nil || string(b) != "1" {
		c.t.Errorf("lost: d000/f has %q, %v", b, err)
	}
}

func fileOverTheLimit(c *cluster, s3 *bucketStore) {
	s := c.saved("large")
	c.write("n1", s.ID, "f", "saved")
	large := filepath.Join(c.volumeDir("n1", s.ID), "workspace", "disk.img")
	f, err := os.Create(large)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := f.Truncate(41 << 30); err != nil { // without blocks
		c.t.Fatal(err)
	}
	f.Close()
	own(c.t, large, 0o644)
	got := c.parkedAfter(s.ID, c.wait(c.stop(s.ID).ID, patience))
	if !strings.Contains(got.Error.Message, "disk.img") || got.LastSave == nil || got.LastSave.LeftOut != 1 || !got.LastSave.Verified {
		c.t.Errorf("it says %q, its last save is %+v", got.Error.Message, got.LastSave)
	}
	if text, _ := s3.plain("large/f"); text != "saved" {
		c.t.Errorf("lost: the other file is %q", text)
	}
	if err := os.Remove(large); err != nil {
		c.t.Fatal(err)
	}
	c.succeed(c.stop(s.ID).ID)
	if c.keeps(s.ID) {
		c.t.Error("left behind: the volume, with everything saved")
	}
}

func notesRemovedAndKilled(c *cluster, s3 *bucketStore) {
	s := c.saved("notes")
	c.write("n1", s.ID, "first", "saved")
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/save", "").ID)
	c.write("n1", s.ID, "f", "two hours of work")
	if err := os.RemoveAll(filepath.Join(c.volumeDir("n1", s.ID), ".berth")); err != nil {
		c.t.Fatal(err)
	}
	e, engineID := c.engineOf("n1", s.ID)
	if err := e.ContainerKill(context.Background(), engineID, "KILL"); err != nil {
		c.t.Fatal(err)
	}
	c.succeed(c.stop(s.ID).ID)
	for name, want := range map[string]string{"f": "two hours of work", "first": "saved"} {
		if text, err := s3.plain("notes/" + name); text != want {
			c.t.Errorf("lost: %s is %q, %v", name, text, err)
		}
	}
}

func otherPeoplesObjects(c *cluster, s3 *bucketStore) {
	want := map[string]string{"dataset/a": "1", "dataset/deep/b": "2", ".berthignore": "dataset/*\n", "f": "3"}
	for name, text := range want {
		s3.put(c.t, "others/"+name, text)
	}
	s := c.saved("others")
	for range 2 {
		c.write("n1", s.ID, "f", want["f"])
		c.succeed(c.stop(s.ID).ID)
		for name, text := range want {
			if got, err := s3.plain("others/" + name); got != text {
				c.t.Errorf("lost: %s is %q, %v", name, got, err)
			}
		}
		c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/start", "").ID)
		want["f"] += "+"
	}
	// A folder of it is no place for another, not while it runs nor when it is down.
	c.succeed(c.stop(s.ID).ID)
	for _, prefix := range []string{"others/dataset", "others/dataset/deep"} {
		if a, _ := c.call("POST", "/api/containers/start", fmt.Sprintf(`{"s3Bucket":"work","s3Prefix":%q,"awsAccessKeyId":%q,"awsSecretAccessKey":%q}`, prefix, s3Key, s3Secret)); a.code() != ide.Conflict {
			c.t.Errorf("a workspace inside it: got %s", a)
		}
	}
}

func lastSaveIsGone(c *cluster, s3 *bucketStore) {
	s := c.saved("gone")
	c.write("n1", s.ID, "f", "1")
	c.succeed(c.stop(s.ID).ID)
	if err := os.RemoveAll(filepath.Join(s3.dir, "work", "gone")); err != nil {
		c.t.Fatal(err)
	}
	start := "/api/containers/" + s.ID + "/start"
	j := c.wait(ask[ide.Job](c, http.StatusAccepted, "POST", start, "").ID, patience)
	if j.Status != ide.JobFailed || j.Error.Code != ide.WorkspaceMissing {
		c.t.Fatalf("lost: the start is %s, %v, want WORKSPACE_MISSING", j.Status, j.Error)
	}
	if m := c.made(); slices.Contains(m.services, "berth-"+s.ID) {
		c.t.Errorf("left behind: %+v", m)
	}
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", start+"?force=true", "").ID)
}

// setAside: of two containers on one workspace, one has not saved when it finds the
// other's save. Its work is in the next generation.
func setAside(c *cluster, s3 *bucketStore) {
	s := c.saved("aside")
	c.write("n1", s.ID, "f", "mine, and not saved")
	s3.overtake(c.t, "aside")
	c.parkedAfter(s.ID, c.wait(c.stop(s.ID).ID, patience))
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/start", "").ID)
	c.succeed(c.stop(s.ID).ID)
	found, err := filepath.Glob(filepath.Join(s3.dir, "work", "aside", "berth-recovered", "*", "f"))
	if err != nil || len(found) != 1 {
		c.t.Fatalf("lost: set aside is %v, %v", found, err)
	}
	if b, err := os.ReadFile(found[0]); string(b) != "mine, and not saved" {
		c.t.Errorf("lost: %q, %v", b, err)
	}
	if text, _ := s3.plain("aside/theirs"); text != "theirs" {
		c.t.Errorf("lost: the other's file is %q", text)
	}
	if got := c.get(s.ID).LastSave; got == nil || got.Recovered != 1 {
		c.t.Errorf("the last save is %+v, want one recovered file", got)
	}
}

// TestNodeRejoins: a machine leaves the Swarm with files that are not saved, and
// joins again under another ID, as docs/TROUBLESHOOTING.md says to do. Its worker
// finds the volume, and the files are saved from there.
func TestNodeRejoins(t *testing.T) {
	l := lab.Open(t)
	l.Need(2)
	s3 := newStore(t, l)
	c := newCluster(t, s3.settings("SAVE_INTERVAL=600s", "SAVE_DEADLINE=5s")...)
	l = c.lab
	c.worker("n1")
	n3 := l.Join(3)
	w3 := c.worker("n3")
	c.eventually("n3 takes containers", patience, func() error {
		if n, ok := c.nodeNamed("n3"); !ok || !n.Placeable {
			return fmt.Errorf("it is %+v", n)
		}
		return nil
	})
	s := c.savedOn("n3", "rejoin")
	prefix, before := c.get(s.ID).S3Prefix, c.get(s.ID).Node
	c.write("n3", s.ID, "f", "the only copy")
	s3.refuse(403, prefix)
	if j := c.wait(c.stop(s.ID).ID, 2*patience); j.Status != ide.JobFailed || j.Error.Code != ide.WorkspaceUnsaved {
		t.Fatalf("the stop is %s, %v", j.Status, j.Error)
	}
	c.end(w3, syscall.SIGKILL)
	manager, machine := c.clientOf("n1"), c.clientOf("n3")
	of, err := manager.SwarmInspect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.SwarmLeave(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	err = machine.SwarmJoin(context.Background(), swarm.JoinRequest{ListenAddr: n3.Addr + ":2377", AdvertiseAddr: n3.Addr, DataPathAddr: n3.Addr,
		RemoteAddrs: []string{l.Node("n1").Addr + ":2377"}, JoinToken: of.JoinTokens.Worker})
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.NodeRemove(context.Background(), before, swarm.NodeRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	c.eventually("an edge there reaches the control plane", patience, func() error { return c.reaches("n3") })
	c.worker("n3")
	c.eventually("its new node has taken it over", 2*patience, func() error {
		if got := c.get(s.ID); got.Node == before || got.Node == "" {
			return fmt.Errorf("its node is %q", got.Node)
		}
		return nil
	})
	if got := c.get(s.ID); !got.Unsaved {
		t.Fatalf("lost: it is %s, unsaved %t", got.Status, got.Unsaved)
	}
	s3.refuse(0, prefix)
	c.succeed(c.stop(s.ID).ID)
	if text, err := s3.plain(prefix + "/f"); text != "the only copy" {
		t.Errorf("lost: the bucket has %q, %v", text, err)
	}
}

// clientOf is a client of a node's engine.
func (c *cluster) clientOf(node string) *client.Client {
	c.t.Helper()
	e, err := client.NewClientWithOpts(client.WithHost(c.lab.Node(node).Sock), client.WithAPIVersionNegotiation())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { e.Close() })
	return e
}
