package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/redistest"

	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

var quiet = log.New(io.Discard, "", 0)

func sumHex(text string) string { return Sum(sha256.Sum256([]byte(text))).String() }

// server is an S3 store on loopback.
type server struct {
	url  string
	keys Credentials
}

// memory is a store in this process. It does one conditional write at a time:
// by itself it looks and writes in two steps.
func memory(t testing.TB) server {
	t.Helper()
	fake := gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(true), gofakes3.WithLogger(gofakes3.StdLog(quiet))).Server()
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.Header.Get("If-None-Match") != "" {
			mu.Lock()
			defer mu.Unlock()
		}
		if q := r.URL.Query(); q.Has("delimiter") && q.Get("delimiter") == "" {
			q.Del("delimiter") // it takes an empty one for one
			r.URL.RawQuery = q.Encode()
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return server{s.URL, Credentials{AccessKey: "key", SecretKey: "secret"}}
}

// versity is a real S3 gateway over a directory. Where there is none the test
// is skipped, but not in CI.
func versity(t testing.TB) server {
	t.Helper()
	bin := os.Getenv("VERSITYGW")
	if bin == "" {
		var err error
		if bin, err = exec.LookPath("versitygw"); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal("versitygw is not in PATH: CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
			}
			t.Skip("versitygw is not in PATH, nor named by VERSITYGW: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
		}
	}
	dir := t.TempDir()
	data, iam := filepath.Join(dir, "data"), filepath.Join(dir, "iam")
	for _, d := range []string{filepath.Join(data, "bucket"), iam} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	addr := fmt.Sprint("127.0.0.1:", redistest.Port(t))
	s := server{"http://" + addr, Credentials{AccessKey: "access", SecretKey: "secretsecret"}}
	cmd := exec.Command(bin, "--port", addr, "--iam-dir", iam, "--quiet", "--keep-alive", "posix", data)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.keys.AccessKey, "ROOT_SECRET_KEY="+s.keys.SecretKey)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	waitFor(t, "versitygw to answer", func() bool {
		res, err := visitor.Get(s.url)
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	return s
}

// visitor has connections of its own: an httptest.Server that closes closes the
// idle ones of http.DefaultTransport, those of other tests with them.
var visitor = &http.Client{Transport: &http.Transport{}}

// waitFor polls until it is so. Its limit counts looks, not time: a machine
// that stands still makes none.
func waitFor(t testing.TB, what string, so func() bool) {
	t.Helper()
	for range 6000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

func (s server) config() Config {
	return Config{Endpoint: s.url, Bucket: "bucket", Prefix: "ws", Credentials: s.keys, PathStyle: true}
}

func (s server) bucket(t testing.TB, change ...func(*Config)) *Bucket {
	t.Helper()
	cfg := s.config()
	for _, f := range change {
		f(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustRestore(t testing.TB, b *Bucket, dir string) (*Workspace, Restored) {
	t.Helper()
	w, r, err := b.Restore(t.Context(), dir, nil)
	if err != nil {
		t.Fatalf("Restore: %v", err)
	}
	t.Cleanup(func() { w.Close() })
	return w, r
}

func mustSave(t testing.TB, w *Workspace) Saved {
	t.Helper()
	s, err := w.Save(t.Context())
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	if s.Trouble != nil {
		t.Fatalf("Save: trouble %v", s.Trouble)
	}
	if _, err := w.b.Verify(t.Context(), s.Generation); err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return s
}

// write makes a file, with the directories above it.
func write(t testing.TB, dir, name, text string) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// picture describes a tree for comparison: kinds, modes, times, contents.
func picture(t testing.TB, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if rel == "." {
			return nil
		}
		if rel == RecoveredDir { // what gave way is a test's of its own
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			m[rel] = "-> " + target
			return err
		case d.IsDir():
			m[rel] = fmt.Sprint("dir ", info.Mode())
		default:
			b, err := os.ReadFile(p)
			m[rel] = fmt.Sprintf("%v %d %d %x", info.Mode(), info.ModTime().UnixNano(), len(b), sha256.Sum256(b))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantSame(t testing.TB, got, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		if len(diff) > 4000 {
			diff = diff[:4000]
		}
		t.Fatalf("trees differ (-saved +restored):\n%s", diff)
	}
}

// keys lists the bucket.
func (b *Bucket) keys(t testing.TB) []string {
	t.Helper()
	var keys []string
	for o := range b.s3.Client.ListObjects(context.Background(), b.cfg.Bucket, listAll) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		keys = append(keys, strings.TrimPrefix(o.Key, b.prefix))
	}
	return keys
}
