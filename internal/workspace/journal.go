package workspace

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// journal says what the author of a generation does to the plain files.
type journal struct {
	Generation int64                  `json:"generation"`
	Author     string                 `json:"author"`
	Plain      map[string]journalLine `json:"plain"`
}

type journalLine struct {
	Old map[string]Sum `json:"old,omitempty"` // ETags before, with the content of each
	New string         `json:"new,omitempty"` // ETag after; empty: deleted
	Sum *Sum           `json:"sha256,omitempty"`

	generation int64     // of the journal
	at         time.Time // when it was written
}

// knows says whether an ETag is one of a plain file of ours, and its content.
func (l journalLine) knows(etag string) (Sum, bool) {
	if etag == l.New && l.Sum != nil {
		return *l.Sum, true
	}
	sum, ok := l.Old[etag]
	return sum, ok
}

func (b *Bucket) journalKey(n int64) string {
	return b.key(journalDir + strconv.FormatInt(n, 10) + ".json")
}

// maxJournal bounds what is read of a journal.
const maxJournal = 256 << 20

// add says what is about to be done at a path, and forgets nothing that was to
// be done there before: a request that was given up may still be carried out.
func (j *journal) add(p string, line journalLine) {
	was := j.Plain[p]
	old := maps.Clone(was.Old)
	if old == nil {
		old = map[string]Sum{}
	}
	maps.Copy(old, line.Old)
	if was.New != "" && was.Sum != nil {
		old[was.New] = *was.Sum
	}
	delete(old, line.New)
	line.Old = old
	j.Plain[p] = line
}

// openJournal returns the journal of the base, with what it has already: by an
// attempt before, in this process or in another.
func (w *Workspace) openJournal(ctx context.Context) (journal, error) {
	n := w.header.Generation
	if w.journal.Generation != n {
		j, err := w.b.readJournal(ctx, n)
		if err != nil {
			return journal{}, err
		}
		w.journal = j
	}
	w.journal.Author = w.author
	return w.journal, nil
}

// readJournal returns the journal of a generation, an empty one if there is none.
func (b *Bucket) readJournal(ctx context.Context, n int64) (journal, error) {
	j := journal{Generation: n, Plain: map[string]journalLine{}}
	data, found, err := b.get(ctx, b.journalKey(n), maxJournal)
	if err != nil || !found {
		return j, err
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return j, asDamaged(n, err)
	}
	if j.Plain == nil {
		j.Plain = map[string]journalLine{}
	}
	return j, nil
}

func (w *Workspace) writeJournal(ctx context.Context, j journal) error {
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	_, err = w.b.put(ctx, w.b.journalKey(j.Generation), data)
	return err
}

// keepJournals is for how long a journal may still explain what a writer that
// has been overtaken did late.
const keepJournals = time.Hour

// oldJournals removes the journals of generations whose plain files are done.
func (w *Workspace) oldJournals(ctx context.Context) error {
	all, err := w.b.numbered(ctx, journalDir)
	if err != nil {
		return err
	}
	for _, j := range all {
		if j.number < w.header.Generation && time.Since(j.at) > keepJournals {
			if err := w.b.remove(ctx, w.b.journalKey(j.number)); err != nil {
				return err
			}
		}
	}
	return nil
}
