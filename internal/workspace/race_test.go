package workspace

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTwoWritersLoseNothing has two writers on one prefix, each told now and
// then that it has saved. Each time, that is what can be had back.
func TestTwoWritersLoseNothing(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	f := versity(t).faulty(t, seed, nil)
	b := f.bucket(t)
	f.rate.Store(30)
	type told struct {
		generation int64
		tree       map[string]string
	}
	results := make(chan told, 1000)
	rounds := cycles() / 2
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
	if len(saved) < 3 && !testing.Short() {
		t.Errorf("only %d generations: the test tests little", len(saved))
	}
}
