package store

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"

	"github.com/google/go-cmp/cmp"
)

// forms are those that the comment in keys.go lists.
func forms(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Doc == nil {
			continue
		}
		for _, c := range g.Doc.List {
			row, ok := strings.CutPrefix(c.Text, "//\t")
			if !ok || strings.HasPrefix(row, " ") {
				continue // prose, or the rest of a row
			}
			names, _, _ := strings.Cut(row, "  ")
			names = regexp.MustCompile(` (hash|set|zset|list|stream|string)$`).ReplaceAllString(names, "")
			list = append(list, strings.Split(strings.TrimSpace(names), ", ")...)
		}
	}
	return list
}

func TestEachKeyIsBackedUpOrLeftOutOnPurpose(t *testing.T) {
	t.Parallel()
	list := forms(t)
	if len(list) < 40 {
		t.Fatalf("keys.go lists %q: not all were read", list)
	}
	known := slices.Clone(backedUp)
	for form := range leftOut {
		known = append(known, form)
	}
	slices.Sort(list)
	slices.Sort(known)
	if diff := cmp.Diff(known, list); diff != "" {
		t.Errorf("keys.go (+) and the lists in backup.go (-) differ: say of a new key whether a backup holds it\n%s", diff)
	}
}

// lived is a store in which something of everything that a backup holds has
// happened, and the container that it is about.
func lived(t *testing.T) (*Store, ide.Container, ide.Job) {
	t.Helper()
	s := open(t, 8e9, 8<<30)
	ctx := t.Context()
	a := create()
	a.IdempotencyKey, a.Digests = "once", []string{"digest"}
	first := admit(t, s, a)
	h := take(t, s, first.Job.ID)
	if _, err := h.End(ctx, ide.JobSucceeded); err != nil {
		t.Fatal(err)
	}
	c, err := s.Move(ctx, a.New.ID, 1, ide.Running, "container-create", "It runs.", nil)
	if err != nil {
		t.Fatal(err)
	}
	admit(t, s, stopping(c.ID)) // stays open
	for _, err := range []error{
		s.AddKey(ctx, ide.Key{Name: "course", Role: ide.Client, Digest: "d1", CreatedBy: "admin"}),
		s.KeyUsed(ctx, "course", time.UnixMilli(1e12)),
		s.Pause(ctx, "idle-sweep", Pause{By: "admin"}),
		s.AddWebhook(ctx, ide.Webhook{ID: "hook", Owner: "course", URL: "https://hooks.test", Events: []string{"job.failed"}, Secrets: []ide.HookSecret{{Sealed: "sealed"}}}, 9),
		s.AddWebhook(ctx, ide.Webhook{ID: "all", Owner: "admin", All: true, URL: "https://all.test"}, 9),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, c, h.Job
}

func backup(t *testing.T, s *Store) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := s.Backup(t.Context(), &out, "v1"); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// all returns what a store has of what a backup holds.
func all(t *testing.T, s *Store, c ide.Container, j ide.Job) map[string]any {
	t.Helper()
	got := map[string]any{}
	note := func(name string, v any, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got[name] = v
	}
	ctx := t.Context()
	keys, used, err := s.Keys(ctx)
	note("keys", keys, err)
	note("used", used, nil)
	k, ok, err := s.KeyByDigest(ctx, "d1")
	note("digest", fmt.Sprint(k, ok), err)
	pauses, err := s.Pauses(ctx)
	note("pauses", pauses, err)
	hooks, err := s.Webhooks(ctx, "")
	note("hooks", hooks, err)
	mine, err := s.Webhooks(ctx, "course")
	note("mine", mine, err)
	history, err := s.History(ctx, c.ID)
	note("history", history, err)
	job, err := s.Job(ctx, j.ID)
	note("job", job, err)
	jobs, total, err := s.Jobs(ctx, Filter{Owner: alice.Name, Status: string(ide.JobSucceeded), Limit: 9})
	note("jobs", jobs, err)
	note("total", total, nil)
	numbers, err := s.rdb.HGetAll(ctx, seqKey).Result()
	note("numbers", numbers, err)
	answer, err := s.rdb.Get(ctx, idemKey(alice.Name, "once")).Result()
	note("answer", answer, err)
	return got
}

func TestBackupComesBack(t *testing.T) {
	t.Parallel()
	from, c, j := lived(t)
	want, file := all(t, from, c, j), backup(t, from)
	to := New(redistest.New(t), Config{})
	ctx := t.Context()
	if err := to.MarkRebuilt(ctx); err != nil {
		t.Fatal(err)
	}
	h, n, err := to.RestoreBackup(ctx, bytes.NewReader(file), false)
	if err != nil || h.Berth != "v1" || n != bytes.Count(file, []byte("\n"))-2 {
		t.Fatalf("got %+v, %d entries, %v", h, n, err)
	}
	if diff := cmp.Diff(want, all(t, to, c, j)); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	if rebuilt, err := to.Rebuilt(ctx); rebuilt || err != nil {
		t.Errorf("rebuilt is %t, %v: workers would not bring the containers back", rebuilt, err)
	}
	if ttl := to.rdb.PTTL(ctx, idemKey(alice.Name, "once")).Val(); ttl < 23*time.Hour || ttl > 24*time.Hour {
		t.Errorf("the answer is kept for %v, want the rest of a day", ttl)
	}
	if _, total, err := to.Containers(ctx, Filter{Limit: 9}); total != 0 || err != nil {
		t.Errorf("there are %d containers, %v: they are Swarm's to tell", total, err)
	}
	if due, err := to.Due(ctx, time.Now().Add(time.Hour), 9); len(due) > 0 || err != nil {
		t.Errorf("open jobs came back: %v, %v", due, err)
	}

	c.Unsaved = true
	made, err := to.Restore(ctx, c, ide.Job{Function: "container-stop"}, false, 0, "It is back.")
	if err != nil || !made {
		t.Fatalf("the record: got %t, %v", made, err)
	}
	if _, total, err := to.Containers(ctx, Filter{Owner: c.Owner, Status: Unsaved, Limit: 9}); total != 1 || err != nil {
		t.Errorf("%d containers are not saved, %v, want the one that is back", total, err)
	}
	if ttl := to.rdb.PTTL(ctx, containerEventsKey(c.ID)).Val(); ttl >= 0 {
		t.Errorf("the history of a container that is back ends in %v", ttl)
	}
	if history, err := to.History(ctx, c.ID); err != nil || len(history) < 3 || history[len(history)-1].Message != "It is back." {
		t.Errorf("its history is %+v, %v", history, err)
	}
	if _, err := to.Move(ctx, c.ID, 1, ide.Failed, "test", "", nil); err != nil {
		t.Fatal(err)
	}
	if claimed := claim(t, to, HooksSlow); claimed.Webhook.ID != "all" || claimed.Delivery.Type != "container.failed" {
		t.Errorf("the webhook that hears of everything got %+v", claimed.Delivery)
	}
	j2 := admit(t, to, Admission{Function: j.Function, MaxAttempts: 1, By: alice, Container: c.ID})
	if want := strings.TrimSuffix(j.ID, ":1") + ":2"; j2.Job.ID != want {
		t.Errorf("the next job is %s, want %s", j2.Job.ID, want)
	}
	if err := to.Drop(ctx, c.ID, nil); err != nil {
		t.Fatal(err)
	}
	if _, total, err := to.Containers(ctx, Filter{Status: Unsaved, Limit: 9}); total != 0 || err != nil {
		t.Errorf("%d containers are not saved, %v, after the record was dropped", total, err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	from, _, _ := lived(t)
	file := backup(t, from)
	lines := bytes.SplitAfter(file, []byte("\n"))
	ctx := t.Context()
	to := New(redistest.New(t), Config{})
	if err := to.Pause(ctx, "standing", Pause{}); err != nil {
		t.Fatal(err)
	}
	before := dump(t, to)
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":             {nil, "no backup"},
		"another file":        {[]byte("{}\n"), "no backup"},
		"a later format":      {bytes.Replace(file, []byte(`"format":1`), []byte(`"format":2`), 1), "reads format 1"},
		"no footer":           {file[:len(file)-len(lines[len(lines)-2])], "cut off"},
		"half a footer":       {file[:len(file)-9], "cut off"},
		"half a line":         {file[:len(file)/2], "cut off"},
		"a line is missing":   {slices.Concat(append(slices.Clone(lines[:2]), lines[3:]...)...), "checksum"},
		"a letter is another": {bytes.Replace(file, []byte("It runs."), []byte("It ruNs."), 1), "checksum"},
		"two files":           {append(slices.Clone(file), file...), "follows"},
		"an unknown entry":    {bytes.Replace(file, []byte(`"key":"keys"`), []byte(`"key":"lock"`), 1), `"lock"`},
		"a container":         {bytes.Replace(file, []byte(`"key":"keys"`), []byte(`"key":"c:ab"`), 1), `"c:ab"`},
	} {
		_, _, err := to.RestoreBackup(ctx, bytes.NewReader(tc.file), true)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	if diff := cmp.Diff(before, dump(t, to)); diff != "" {
		t.Errorf("a refused restore changed something:\n%s", diff)
	}

	if err := to.AddKey(ctx, ide.Key{Name: "other", Digest: "d9"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.RestoreBackup(ctx, bytes.NewReader(file), false); code(err) != ide.Conflict || !strings.Contains(err.Error(), "1 API keys") {
		t.Errorf("a Redis with a key: got %v, want a CONFLICT that says so", err)
	}
	if _, _, err := to.RestoreBackup(ctx, bytes.NewReader(file), true); err != nil {
		t.Fatal(err)
	}
	keys, _, err := to.Keys(ctx)
	if err != nil || len(keys) != 1 || keys[0].Name != "course" {
		t.Errorf("with replace there are the keys %v, %v", keys, err)
	}
}

// dump is every key with its value, as Redis would carry it elsewhere.
func dump(t *testing.T, s *Store) map[string]string {
	t.Helper()
	d := map[string]string{}
	for _, key := range s.rdb.Keys(t.Context(), "*").Val() {
		d[key] = s.rdb.Dump(t.Context(), key).Val()
	}
	return d
}

func TestWhatHasEndedIsNotRestored(t *testing.T) {
	t.Parallel()
	s := New(redistest.New(t), Config{})
	var out bytes.Buffer
	b := newBackupWriter(&out)
	b.line(BackupHeader{Format: backupFormat})
	past := time.Now().Add(-time.Minute)
	_ = b.entry(backupEntry{Key: "idem:a:b", Value: "h\na", Expires: &past})
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	if _, n, err := s.RestoreBackup(t.Context(), bytes.NewReader(out.Bytes()), false); err != nil || n != 1 {
		t.Fatalf("got %d, %v", n, err)
	}
	if d := dump(t, s); len(d) != 0 {
		t.Errorf("there is %v", d)
	}
}

func TestNoRecordComesBackWhileABackupIsRestored(t *testing.T) {
	t.Parallel()
	s := open(t, 8e9, 8<<30)
	if err := s.keepRestoring(t.Context()); err != nil {
		t.Fatal(err)
	}
	if made, err := s.Restore(t.Context(), *create().New, ide.Job{Function: "f"}, false, 0, ""); made || code(err) != ide.Conflict {
		t.Errorf("got %t, %v, want a CONFLICT", made, err)
	}
}

func TestLargeBackup(t *testing.T) {
	t.Parallel()
	s, ctx := New(redistest.New(t), Config{}), context.Background()
	const n = 3000
	for i := range n {
		name := fmt.Sprintf("key-%04d", i)
		if err := s.AddKey(ctx, ide.Key{Name: name, Digest: name}); err != nil {
			t.Fatal(err)
		}
		if err := s.rdb.Set(ctx, idemKey("a", name), "h\na", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	file := backup(t, s)
	to := New(redistest.New(t), Config{})
	if _, _, err := to.RestoreBackup(ctx, bytes.NewReader(file), false); err != nil {
		t.Fatal(err)
	}
	keys, _, err := to.Keys(ctx)
	if answers := len(to.rdb.Keys(ctx, prefix+"idem:*").Val()); err != nil || len(keys) != n || answers != n {
		t.Errorf("got %d keys, %d answers, %v, want %d", len(keys), answers, err, n)
	}
	for line := range bytes.Lines(file) {
		if len(line) > 1<<18 {
			t.Errorf("a line has %d bytes: they are all in memory at once", len(line))
		}
	}
}
