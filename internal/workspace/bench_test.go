package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// benchTree makes 2,003 files: 2,000 small ones, two of 2 MB, one of 100 MB.
func benchTree(t testing.TB, dir string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	file := func(name string, size int) {
		b := make([]byte, size)
		for i := 0; i+8 <= size; i += 8 {
			for j, v := 0, rng.Uint64(); j < 8; j, v = j+1, v>>8 {
				b[i+j] = byte(v)
			}
		}
		write(t, dir, name, string(b))
	}
	for i := range 2000 {
		file(fmt.Sprintf("src/d%02d/file %04d.txt", i%40, i), 200+rng.IntN(12_000))
	}
	file("two/a", 2<<20)
	file("two/b", 2<<20)
	file("data.bin", 100<<20)
	old := time.Now().Add(-time.Hour) // written some time ago, as most files are
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(p, old, old))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// saveOnce is a process of its own, whose memory can be told apart: it restores
// an empty bucket, saves, saves again, changes a little, saves, and restores into
// another directory. It prints how long each took.
func saveOnce() error {
	b, err := New(Config{
		Endpoint: os.Getenv("HELPER_URL"), Bucket: "bucket", Prefix: "ws", PathStyle: true, NoMirror: os.Getenv("HELPER_MODE") == "unmirrored",
		Credentials: Credentials{AccessKey: "access", SecretKey: "secretsecret"},
	})
	if err != nil {
		return err
	}
	ctx, dir := context.Background(), os.Getenv(helperEnv)
	w, _, err := b.Restore(ctx, dir, nil)
	if err != nil {
		return err
	}
	for step := range 3 {
		if step == 2 {
			if err := benchDelta(dir); err != nil {
				return err
			}
		}
		s, err := w.Save(ctx)
		if err = errors.Join(err, s.Trouble); err != nil {
			return err
		}
		fmt.Println(int64(s.Took), int64(s.Took-s.Mirror.Took))
	}
	_, r, err := b.Restore(ctx, dir+"-back", nil)
	fmt.Println(int64(r.Took), int64(r.Took))
	return err
}

// benchDelta changes ten files, adds ten and removes ten.
func benchDelta(dir string) error {
	for i := range 10 {
		p := func(j int) string {
			return filepath.Join(dir, "src", fmt.Sprintf("d%02d", j%40), fmt.Sprintf("file %04d.txt", j))
		}
		for _, name := range []string{p(i), filepath.Join(dir, "src", fmt.Sprint("new", i))} {
			if err := os.WriteFile(name, bytes.Repeat([]byte("changed "), 100+i), 0o644); err != nil {
				return err
			}
		}
		if err := os.Remove(p(100 + i)); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkAgainstRclone saves and restores one tree with this package and with
// rclone, on one server, and prints seconds and memory.
func BenchmarkAgainstRclone(b *testing.B) {
	s := versity(b)
	for b.Loop() {
		for _, mode := range []string{"mirrored", "unmirrored"} {
			dir := filepath.Join(b.TempDir(), "ws")
			benchTree(b, dir)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"="+dir, "HELPER_URL="+s.url, "HELPER_MODE="+mode)
			out, peak := run(b, cmd)
			var whole, committed []time.Duration
			for line := range strings.Lines(out) {
				var all, commit time.Duration
				if _, err := fmt.Sscan(line, &all, &commit); err != nil {
					b.Fatal(out)
				}
				whole, committed = append(whole, all), append(committed, commit)
			}
			report(b, mode, whole, peak)
			report(b, mode+"-committed", committed, peak)
			wantBack(b, dir)
			emptyBucket(b, s)
		}
		benchRclone(b, s)
	}
}

// run runs a command and returns what it prints and the most memory it had, in
// MB. What the kernel keeps of a process that has ended counts its parent's too.
func run(b *testing.B, cmd *exec.Cmd) (string, int) {
	b.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended, peak := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
				var kb int
				fmt.Sscan(after, &kb)
				most = max(most, kb>>10)
			}
			select {
			case <-tick.C:
			case <-ended:
				peak <- most
				return
			}
		}
	}()
	err := cmd.Wait()
	close(ended)
	most := <-peak
	if err != nil {
		b.Fatalf("%v: %s", err, out.String())
	}
	return out.String(), most
}

func report(b *testing.B, who string, took []time.Duration, rss int) {
	b.Helper()
	for i, step := range []string{"full", "no-op", "delta", "restore"} {
		b.ReportMetric(took[i].Seconds(), who+"-"+step+"-s")
	}
	b.ReportMetric(float64(rss), who+"-MB")
	b.Logf("%-22s  full %6.3fs  no-op %6.3fs  delta %6.3fs  restore %6.3fs  %d MB", who, took[0].Seconds(), took[1].Seconds(), took[2].Seconds(), took[3].Seconds(), rss)
}

func wantBack(b *testing.B, dir string) {
	b.Helper()
	got, want := picture(b, dir+"-back"), picture(b, dir)
	if diff := cmp.Diff(want, got); diff != "" {
		b.Fatalf("the tree does not come back:\n%.2000s", diff)
	}
}

func emptyBucket(b *testing.B, s server) {
	b.Helper()
	bucket := s.bucket(b)
	for _, key := range bucket.keys(b) {
		if err := bucket.remove(b.Context(), bucket.key(key)); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRclone(b *testing.B, s server) {
	b.Helper()
	if _, err := exec.LookPath("rclone"); err != nil {
		b.Log("rclone is not in PATH")
		return
	}
	dir := filepath.Join(b.TempDir(), "ws")
	benchTree(b, dir)
	remote := fmt.Sprintf(":s3,provider=Other,access_key_id=%s,secret_access_key=%s,endpoint='%s',force_path_style=true:bucket/rclone", s.keys.AccessKey, s.keys.SecretKey, s.url)
	var took []time.Duration
	rss := 0
	for step := range 4 {
		from, to := dir, remote
		if step == 2 {
			if err := benchDelta(dir); err != nil {
				b.Fatal(err)
			}
		} else if step == 3 {
			from, to = remote, dir+"-back"
		}
		cmd := exec.Command("rclone", "--config", "", "sync", from, to)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
		began := time.Now()
		_, most := run(b, cmd)
		took, rss = append(took, time.Since(began)), max(rss, most)
	}
	report(b, "rclone", took, rss)
}
