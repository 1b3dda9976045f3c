package workspace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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

// cycles is how often the tests that go on at random do so: SAVE_CYCLES, or 20
// times, or a few with -short.
func cycles() int {
	if testing.Short() {
		return setting("SAVE_CYCLES", 2)
	}
	return setting("SAVE_CYCLES", 20)
}

// patienceFor is how long such a test goes on where nobody has said how often:
// on a busy machine it ends early, and says so.
const patienceFor = 45 * time.Second

// enough says whether a test that began at a time, and has done n cycles, ends.
func enough(t testing.TB, began time.Time, n int) bool {
	if os.Getenv("SAVE_CYCLES") != "" || n < 2 || time.Since(began) < patienceFor {
		return false
	}
	t.Logf("ends after %d of %d cycles: %v are over (SAVE_CYCLES has no such end)", n, cycles(), patienceFor)
	return true
}

// seed is SAVE_SEED, or the same one each time: a failure is repeated by another
// run.
func seed(t testing.TB) uint64 {
	n := setting("SAVE_SEED", 1)
	t.Logf("SAVE_SEED=%d", n)
	return uint64(n)
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

// heavyEvery is how many cycles there are to one with very many files and a
// very long one.
const heavyEvery = 20

// heavy makes very many files and a very long one; a cycle later they go.
func heavy(t testing.TB, dir string) {
	files, megabytes := 150, 20
	switch n := cycles(); {
	case n >= 200:
		files, megabytes = 5000, 300
	case n < heavyEvery:
		files, megabytes = 40, 9
	}
	for i := range files {
		write(t, dir, fmt.Sprintf("heavy/%d/%d", i%17, i), fmt.Sprint("file ", i))
	}
	write(t, dir, "heavy/long", strings.Repeat("0123456789abcdef", megabytes<<20/16))
}

// TestSaveRestoreCycles changes a tree at random, saves it through faults while
// it changes and after, and restores it.
func TestSaveRestoreCycles(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	f := versity(t).faulty(t, seed, nil)
	_, gitMissing := exec.LookPath("git")
	rng := rand.New(rand.NewPCG(seed, 2))
	// Everything is outdated at once, so that collecting is under way all the time.
	b := f.bucket(t, func(c *Config) { c.KeepGenerations, c.KeepFor, c.Grace = 2, 1, 1 })
	b.patience = 2 * time.Second
	g := &garden{t: t, dir: t.TempDir(), rng: rng, git: gitMissing == nil}
	defer func() { t.Logf("%d requests, faults %v", f.seen.Load(), f.counts) }()

	w := restoreThrough(t, b, g.dir)
	for i := range 60 {
		write(t, g.dir, fmt.Sprintf("many/%d/%d", i%17, i), fmt.Sprint("file ", i))
	}
	began := time.Now()
	for cycle := range cycles() {
		if enough(t, began, cycle) {
			break
		}
		f.rate.Store(20)
		switch cycle % heavyEvery {
		case min(10, cycles()-2):
			heavy(t, g.dir)
		case min(11, cycles()-1):
			os.RemoveAll(filepath.Join(g.dir, "heavy"))
		}
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
			os.RemoveAll(back)
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
		for i := 0; i < 60 && ctx.Err() == nil; i++ {
			g.change()
			pause(ctx, time.Millisecond)
		}
	}()
	for range min(1+cycles()/100, 2) {
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
