package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"berth/internal/ide"
	"berth/internal/lab"
	"berth/internal/workspace"
)

// store is a real S3 server in the lab's client network, behind a proxy that
// can make it fail. Its buckets are folders.
type bucketStore struct {
	dir      string // below it a folder a bucket
	endpoint string // as containers and workers see it

	mu      sync.Mutex
	refuses map[string]int // status that is answered instead, by prefix; the empty one is of all
}

const (
	s3Key    = "lab-access"
	s3Secret = "lab-secret-lab-secret"
)

// newStore starts a store with one bucket, "work".
func newStore(t testing.TB, l *lab.Lab) *bucketStore {
	t.Helper()
	bin := os.Getenv("VERSITYGW")
	if bin == "" {
		var err error
		if bin, err = exec.LookPath("versitygw"); err != nil {
			t.Fatal("versitygw is not in PATH, nor named by VERSITYGW: CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
		}
	}
	dir := t.TempDir()
	s := &bucketStore{dir: filepath.Join(dir, "data"), refuses: map[string]int{}}
	for _, d := range []string{filepath.Join(s.dir, "work"), filepath.Join(dir, "iam")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	addr := fmt.Sprintf("127.0.0.1:%d", takePorts(t, l, 1))
	cmd := exec.Command(bin, "--port", addr, "--iam-dir", filepath.Join(dir, "iam"), "--quiet", "posix", s.dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s3Key, "ROOT_SECRET_KEY="+s3Secret)
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if !poll(patience, func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	}) {
		t.Fatalf("versitygw does not answer: %s", out)
	}
	outer, err := net.Listen("tcp", net.JoinHostPort(l.ClientAddr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint = "http://" + outer.Addr().String()
	to, _ := url.Parse("http://" + addr)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuses := s.refusal(r); refuses != 0 {
			code := map[int]string{403: "AccessDenied", 404: "NoSuchBucket", 503: "SlowDown"}[refuses]
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(refuses)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>injected</Message></Error>", code)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go srv.Serve(outer)
	t.Cleanup(func() { srv.Close() })
	return s
}

// refuse answers every request, or those below a prefix, with a status from now on; 0
// ends that.
func (s *bucketStore) refuse(status int, prefix ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses[strings.Join(prefix, "/")] = status
}

// refusal is the status with which a request is refused, or 0.
func (s *bucketStore) refusal(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for prefix, status := range s.refuses {
		if status != 0 && (prefix == "" || strings.HasPrefix(r.URL.Path, "/work/"+prefix+"/") || strings.HasPrefix(r.URL.Query().Get("prefix"), prefix+"/")) {
			return status
		}
	}
	return 0
}

// settings of a control plane that uses the store.
func (s *bucketStore) settings(more ...string) []string {
	return append([]string{"S3_ENDPOINT=" + s.endpoint, "S3_PATH_STYLE=true", "SAVE_INTERVAL=30s"}, more...)
}

// plain reads a plain file of the bucket.
func (s *bucketStore) plain(key string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "work", filepath.FromSlash(key)))
	return string(b), err
}

// put makes a plain file, as another program would.
func (s *bucketStore) put(t testing.TB, key, text string) {
	t.Helper()
	name := filepath.Join(s.dir, "work", filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// overtake saves below a prefix as another container would.
func (s *bucketStore) overtake(t testing.TB, prefix string) {
	t.Helper()
	b, err := workspace.Open(ide.Place{Endpoint: s.endpoint, PathStyle: true, Bucket: "work", Prefix: prefix}, ide.S3Credentials{AccessKey: s3Key, SecretKey: s3Secret})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w, _, err := b.Restore(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := os.WriteFile(filepath.Join(dir, "theirs"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Save(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (s *bucketStore) objectFiles(t testing.TB, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "work", prefix, ".berth", "objects", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// loseObjects removes what the generations below a prefix are made of.
func (s *bucketStore) loseObjects(t testing.TB, prefix string) {
	t.Helper()
	for _, f := range s.objectFiles(t, prefix) {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *bucketStore) objects(t testing.TB, prefix string) int { return len(s.objectFiles(t, prefix)) }
