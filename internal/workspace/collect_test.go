package workspace

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// objects lists the sums in the bucket.
func (b *Bucket) objects(t testing.TB) []string {
	t.Helper()
	var sums []string
	for _, key := range b.keys(t) {
		if sum, ok := strings.CutPrefix(key, objectsDir); ok {
			sums = append(sums, sum)
		}
	}
	return sums
}

func TestWhatIsOutdatedIsCollected(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s server) {
		b := s.bucket(t, func(c *Config) { c.KeepGenerations, c.KeepFor, c.Grace = 3, 1, 1 })
		dir := t.TempDir()
		w, _ := mustRestore(t, b, dir)
		write(t, dir, "stays", "stays")
		write(t, dir, "back", "goes and comes back")
		n, collected := 0, 0
		save := func() {
			n++
			write(t, dir, "f", fmt.Sprint("content ", n))
			collected += mustSave(t, w).Collected
			all, err := b.generations(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range all {
				if _, err := b.Verify(t.Context(), g.number); err != nil {
					t.Fatalf("generation %d of %v: %v", g.number, all, err)
				}
			}
			if len(all) > 3 && all[0].at.Before(all[len(all)-1].at) {
				t.Errorf("%d generations are kept: %v", len(all), all)
			}
		}
		save()
		first := sumHex("content 1")
		write(t, dir, "back", "is something else")
		save()
		write(t, dir, "back", "goes and comes back")
		waitFor(t, "the first generation's file to be collected", func() bool {
			save()
			return !slices.Contains(b.objects(t), first)
		})
		waitFor(t, "what was a file's content only for a while to be collected", func() bool {
			save()
			return !slices.Contains(b.objects(t), sumHex("is something else"))
		})
		for _, text := range []string{"stays", "goes and comes back", fmt.Sprint("content ", n)} {
			if !slices.Contains(b.objects(t), sumHex(text)) {
				t.Errorf("%q was collected", text)
			}
		}
		if collected == 0 {
			t.Error("no save says that it collected")
		}
	})
}

func TestWhatIsYoungIsKept(t *testing.T) {
	t.Parallel()
	b := memory(t).bucket(t)
	dir := t.TempDir()
	w, _ := mustRestore(t, b, dir)
	for i := range 14 {
		write(t, dir, "f", strings.Repeat("x", i+1))
		if got := mustSave(t, w); got.Collected != 0 {
			t.Fatalf("saved %+v", got)
		}
	}
	all, err := b.generations(t.Context())
	if err != nil || len(all) != 14 || len(b.objects(t)) != 14 {
		t.Errorf("%d generations, %d objects, %v; want all 14", len(all), len(b.objects(t)), err)
	}
}

func TestObjectsOfNoGenerationAreSwept(t *testing.T) {
	t.Parallel()
	b := memory(t).bucket(t, func(c *Config) { c.Grace = 1 })
	orphan := sumHex("orphan")
	if _, err := b.put(t.Context(), b.key(objectsDir+orphan), []byte("orphan")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w, _ := mustRestore(t, b, dir)
	n := 0
	waitFor(t, "the sweep", func() bool {
		n++
		write(t, dir, "f", strings.Repeat("x", n))
		mustSave(t, w)
		return !slices.Contains(b.objects(t), orphan)
	})
	all, err := b.generations(t.Context())
	if err != nil || len(all) != n {
		t.Errorf("%d generations, %v; want all %d", len(all), err, n)
	}
	for _, g := range all {
		if _, err := b.Verify(t.Context(), g.number); err != nil {
			t.Errorf("generation %d: %v", g.number, err)
		}
	}
}

// A writer that takes up again what a collector is about to delete waits for
// the collector, and uploads it once more.
func TestWriterWaitsForACollector(t *testing.T) {
	t.Parallel()
	b := memory(t).bucket(t)
	one, two := t.TempDir(), t.TempDir()
	w, _ := mustRestore(t, b, one)
	write(t, one, "f", "1")
	mustSave(t, w)
	w2, _ := mustRestore(t, b, two)
	write(t, two, "revived", "revived")
	sum := Sum{}
	if err := sum.UnmarshalText([]byte(sumHex("revived"))); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(doomed{Author: "another", Objects: []Sum{sum}})
	if err != nil {
		t.Fatal(err)
	}
	marker := b.key(collectDir + "1.json")
	if _, err := b.put(t.Context(), marker, list); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := w2.Save(t.Context())
		done <- err
	}()
	waitFor(t, "the upload", func() bool { return slices.Contains(b.objects(t), sumHex("revived")) })
	if err := b.remove(t.Context(), b.objectKey(sum)); err != nil { // the collector's doing
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("saved while a collector was at work: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := b.remove(t.Context(), marker); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if v, err := b.Verify(t.Context(), 0); err != nil || v.Generation != 2 {
		t.Errorf("verified %+v, %v", v, err)
	}
}

// A collector that has died holds up a writer only for a while, and one that
// has died in the writer's own directory not at all.
func TestCollectorThatHasDied(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{true, false} {
		b := memory(t).bucket(t)
		b.patience = time.Second
		one := t.TempDir()
		w, _ := mustRestore(t, b, one)
		write(t, one, "f", "1")
		mustSave(t, w)
		author := "another"
		if same {
			author, b.patience = w.author, time.Hour
		}
		w.Close()
		var sum Sum
		if err := sum.UnmarshalText([]byte(sumHex("revived"))); err != nil {
			t.Fatal(err)
		}
		list, err := json.Marshal(doomed{Author: author, Objects: []Sum{sum}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.put(t.Context(), b.collectKey(1), list); err != nil {
			t.Fatal(err)
		}
		w, _ = mustRestore(t, b, one)
		write(t, one, "revived", "revived")
		if got := mustSave(t, w); got.Generation != 2 {
			t.Errorf("saved %+v", got)
		}
		if lists, err := b.condemned(t.Context()); err != nil || len(lists) != 0 {
			t.Errorf("lists left: %v, %v", lists, err)
		}
	}
}
