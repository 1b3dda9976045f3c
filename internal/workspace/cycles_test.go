package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// setting reads a number for a longer run from the environment.
func setting(name string, usual int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return usual
	}
	return n
}

// garden changes a tree at random.
type garden struct {
	t   testing.TB
	dir string
	rng *rand.Rand
	git bool
}

var syllables = []string{"a", "b", "file", " ", "  x", "ü", "日本", "\n", "'", "\"", "\\", "*", "-", "#", "%2F", "+", "&", "\xff", "\x01", "😀", ".txt", "~"}

func (g *garden) name() string {
	if g.rng.IntN(40) == 0 {
		return strings.Repeat(string(rune('a'+g.rng.IntN(26))), 255)
	}
	var b strings.Builder
	for range 1 + g.rng.IntN(4) {
		b.WriteString(syllables[g.rng.IntN(len(syllables))])
	}
	return b.String()
}

// somewhere returns a directory of the tree.
func (g *garden) somewhere() string {
	dirs := []string{"."}
	filepath.WalkDir(g.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		rel, _ := filepath.Rel(g.dir, p)
		if rel == reserved || rel == "repo" {
			return fs.SkipDir
		}
		if d.IsDir() && strings.Count(rel, "/") < 5 {
			dirs = append(dirs, rel)
		}
		return nil
	})
	return filepath.Join(g.dir, dirs[g.rng.IntN(len(dirs))])
}

var sizes = []int{0, 1, 100, 4 << 10, smallFile - 1, smallFile, smallFile + 1, 700 << 10, partSize, partSize + 1}

func (g *garden) content() []byte {
	n := sizes[min(g.rng.IntN(len(sizes)*8), len(sizes)*8-1)%len(sizes)]
	if n > 64<<10 && g.rng.IntN(12) > 0 {
		n = g.rng.IntN(2000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.rng.Uint32())
	}
	return b
}

// change does one thing.
func (g *garden) change() {
	dir := g.somewhere()
	p := filepath.Join(dir, g.name())
	if p == filepath.Join(g.dir, reserved) || p == g.dir {
		return
	}
	switch g.rng.IntN(12) {
	case 0, 1, 2, 3, 4:
		os.WriteFile(p, g.content(), 0o644)
	case 5:
		os.MkdirAll(p, 0o755)
	case 6:
		os.Symlink([]string{"../x", "/etc/hosts", "a", "nowhere\xfe"}[g.rng.IntN(4)], p)
	case 7:
		if dir != g.dir {
			os.RemoveAll(dir)
		}
	case 8:
		if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
			q := filepath.Join(dir, names[g.rng.IntN(len(names))].Name())
			if filepath.Base(q) != reserved && filepath.Base(q) != "repo" {
				os.Rename(q, p)
			}
		}
	case 9, 10:
		if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
			e := names[g.rng.IntN(len(names))]
			q := filepath.Join(dir, e.Name())
			if e.Type().IsRegular() {
				if f, err := os.OpenFile(q, os.O_WRONLY, 0); err == nil { // in place, as databases do
					f.WriteAt([]byte(fmt.Sprint(g.rng.Uint64())), g.rng.Int64N(3))
					f.Close()
				}
				os.Chmod(q, []os.FileMode{0o644, 0o755, 0o600, 0o400, 0o666}[g.rng.IntN(5)])
			}
		}
	case 11:
		if g.git {
			g.commit()
		}
	}
}

func (g *garden) commit() {
	repo := filepath.Join(g.dir, "repo")
	if _, err := os.Stat(repo); err != nil {
		g.run("", "init", "-q", repo)
	}
	for range 3 {
		os.WriteFile(filepath.Join(repo, fmt.Sprint("f", g.rng.IntN(20))), g.content(), 0o644)
	}
	g.run(repo, "add", "-A")
	g.run(repo, "commit", "-q", "--allow-empty", "-m", "x")
	if g.rng.IntN(10) == 0 {
		g.run(repo, "gc", "-q")
	}
}

func (g *garden) run(dir string, args ...string) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=x", "GIT_AUTHOR_EMAIL=x@x", "GIT_COMMITTER_NAME=x", "GIT_COMMITTER_EMAIL=x@x")
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Errorf("git %v: %v %s", args, err, out)
	}
}

// fsck fails the test if the repository of a restored tree lacks anything.
func fsck(t testing.TB, dir string) {
	t.Helper()
	repo := filepath.Join(dir, "repo")
	if _, err := os.Stat(filepath.Join(repo, ".git", "HEAD")); err != nil {
		return
	}
	cmd := exec.Command("git", "-C", repo, "fsck", "--no-dangling", "--full")
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fsck of a restored repository: %v\n%s", err, out)
	}
}

// until repeats what faults may break.
func until(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	for range 200 {
		if err = f(); err == nil {
			return
		}
		if errors.Is(err, ErrTaken) || errors.Is(err, ErrDamaged) {
			break
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// TestSaveRestoreCycles changes a tree at random, saves it through faults while
// it changes and after, and restores it. SAVE_CYCLES, SAVE_FILES and SAVE_BIG
// (MB) make it longer, SAVE_SEED repeats a run.
func TestSaveRestoreCycles(t *testing.T) {
	seed := uint64(setting("SAVE_SEED", int(time.Now().UnixNano()%1e9)))
	t.Logf("seed %d", seed)
	f := versity(t).faulty(t, seed, nil)
	_, gitMissing := exec.LookPath("git")
	rng := rand.New(rand.NewPCG(seed, 2))
	// Everything is outdated at once, so that collecting is under way all the time.
	b := f.bucket(t, func(c *Config) { c.KeepGenerations, c.KeepFor, c.Grace = 2, 1, 1 })
	b.patience = 2 * time.Second
	g := &garden{t: t, dir: t.TempDir(), rng: rng, git: gitMissing == nil}
	defer func() { t.Logf("%d requests, faults %v", f.seen.Load(), f.counts) }()

	w := restoreThrough(t, b, g.dir)
	for i := range setting("SAVE_FILES", 300) {
		write(t, g.dir, fmt.Sprintf("many/%d/%d", i%17, i), fmt.Sprint("file ", i))
	}
	write(t, g.dir, "big", strings.Repeat("0123456789abcdef", setting("SAVE_BIG", 12)<<20/16))
	for cycle := range setting("SAVE_CYCLES", 20) {
		f.rate.Store(20)
		for range 20 {
			g.change()
		}
		stormySaves(t, b, w, g)

		until(t, "save of a quiet tree", func() error { _, err := w.Save(t.Context()); return err })
		want := picture(t, g.dir)
		generation := w.Generation()
		until(t, "verify", func() error { _, err := b.Verify(t.Context(), generation); return err })
		w.Close()
		back := t.TempDir()
		w = restoreThrough(t, b, back)
		wantSame(t, picture(t, back), want)
		fsck(t, back)
		if len(want) == 0 && cycle > 0 {
			t.Fatal("the tree is empty: the test tests nothing")
		}
		if rng.IntN(3) == 0 { // go on where the first was, as after a crash
			w.Close()
			w = restoreThrough(t, b, g.dir)
			wantSame(t, picture(t, g.dir), want)
			continue
		}
		os.RemoveAll(g.dir)
		g.dir = back
	}
}

func restoreThrough(t testing.TB, b *Bucket, dir string) (w *Workspace) {
	t.Helper()
	until(t, "restore", func() (err error) {
		var r Restored
		w, r, err = b.Restore(t.Context(), dir, nil)
		if err == nil && len(r.Outside)+len(r.Overruled) > 0 {
			t.Fatalf("our own plain files are taken for others': %q %q", r.Outside, r.Overruled)
		}
		return err
	})
	t.Cleanup(func() { w.Close() })
	return w
}

// stormySaves saves while the tree changes. What is acknowledged can be had
// back, and its repository is whole.
func stormySaves(t *testing.T, b *Bucket, w *Workspace, g *garden) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < 300 && ctx.Err() == nil; i++ {
			g.change()
			pause(ctx, time.Millisecond)
		}
	}()
	for range 3 {
		s, err := w.Save(t.Context())
		if errors.Is(err, ErrTaken) {
			t.Errorf("the only writer lost its place: %v", err)
		}
		if err != nil || !s.Changed {
			continue
		}
		if _, err := b.Verify(t.Context(), s.Generation); errors.Is(err, ErrDamaged) {
			t.Errorf("saved while changing: %v", err)
		}
		look := t.TempDir()
		until(t, "extract", func() error { _, err := b.Extract(t.Context(), s.Generation, look, nil); return err })
		fsck(t, look)
		os.RemoveAll(look)
	}
	stop()
	<-done
}

// TestTwoWritersLoseNothing has two writers on one prefix, each told now and
// then that it has saved. Each time, that is what can be had back.
func TestTwoWritersLoseNothing(t *testing.T) {
	t.Parallel()
	seed := uint64(setting("SAVE_SEED", int(time.Now().UnixNano()%1e9)))
	t.Logf("seed %d", seed)
	f := versity(t).faulty(t, seed, nil)
	b := f.bucket(t)
	f.rate.Store(30)
	type told struct {
		generation int64
		tree       map[string]string
	}
	results := make(chan told, 1000)
	rounds := setting("SAVE_CYCLES", 20) / 2
	done := make(chan struct{})
	for i := range 2 {
		go func() {
			defer func() { done <- struct{}{} }()
			g := &garden{t: t, rng: rand.New(rand.NewPCG(seed, uint64(10+i)))}
			for range rounds {
				g.dir = t.TempDir()
				w, _, err := b.Restore(t.Context(), g.dir, nil)
				if err != nil {
					continue
				}
				for range 6 {
					for range 3 {
						g.change()
					}
					if _, err = w.Save(t.Context()); err == nil && w.Generation() > 0 {
						results <- told{w.Generation(), picture(t, g.dir)}
					}
					if errors.Is(err, ErrTaken) {
						break
					}
				}
				w.Close()
			}
		}()
	}
	<-done
	<-done
	close(results)
	f.calm()
	saved := map[int64][32]byte{}
	for r := range results {
		sum := sha256.Sum256(fmt.Append(nil, slices.Sorted(maps.Keys(r.tree))))
		if was, twice := saved[r.generation]; twice && was != sum {
			t.Errorf("two writers were told that they have saved generation %d", r.generation)
		}
		saved[r.generation] = sum
		look := t.TempDir()
		if _, err := b.Extract(t.Context(), r.generation, look, nil); err != nil {
			t.Errorf("generation %d, which a writer was told is saved: %v", r.generation, err)
			continue
		}
		wantSame(t, picture(t, look), r.tree)
	}
	if len(saved) < 3 {
		t.Errorf("only %d generations: the test tests little", len(saved))
	}
}
