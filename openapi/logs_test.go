package openapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/google/go-cmp/cmp"
)

// following is a streaming API that follows lines as well.
func following(t *testing.T) (*store.Store, *httptest.Server) {
	t.Helper()
	st, srv, _ := streaming(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); st.FollowLogs(ctx, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); <-done })
	return st, srv
}

// wrote ships a line; what is left out is of a container's stdout.
func wrote(t *testing.T, st *store.Store, l ide.LogLine) {
	t.Helper()
	if l.At.IsZero() {
		l.At = time.Now().UTC()
	}
	l.Source, l.Level = first(l.Source, ide.SourceStdout), first(l.Level, ide.LevelInfo)
	if _, err := st.ShipLogs(t.Context(), first(l.Node, "n1"), []store.Shipment{{Lines: []ide.LogLine{l}}}); err != nil {
		t.Fatal(err)
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ask opens an answer.
func ask(t *testing.T, srv *httptest.Server, key, target string, headers ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// tail opens a stream of lines.
func tail(t *testing.T, srv *httptest.Server, key, target, last string) <-chan ide.LogLine {
	t.Helper()
	res := ask(t, srv, key, target, "Accept", "text/event-stream", "Last-Event-ID", last)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %s, %s", res.Status, res.Header.Get("Content-Type"))
	}
	lines := make(chan ide.LogLine, 100)
	in := bufio.NewScanner(res.Body)
	if !in.Scan() || !strings.HasPrefix(in.Text(), ":") {
		t.Fatalf("the stream begins with %q, want a comment", in.Text())
	}
	go func() {
		defer close(lines)
		for in.Scan() {
			var l ide.LogLine
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok && json.Unmarshal([]byte(data), &l) == nil {
				lines <- l
			}
		}
	}()
	return lines
}

func come(t *testing.T, lines <-chan ide.LogLine, want ...string) (last string) {
	t.Helper()
	for _, w := range want {
		select {
		case l, ok := <-lines:
			if !ok || l.Text != w {
				t.Fatalf("got %+v, %t, want %q", l, ok, w)
			}
			last = l.ID
		case <-time.After(time.Minute):
			t.Fatalf("%q did not come", w)
		}
	}
	return last
}

func TestContainerLogs(t *testing.T) {
	t.Parallel()
	st, srv := following(t)
	id, other := happen(t, st, "alice"), happen(t, st, "bob")
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for i := range 5 {
		wrote(t, st, ide.LogLine{Container: id, At: at.Add(time.Duration(i) * time.Minute), Text: fmt.Sprintf("line %d", i)})
		wrote(t, st, ide.LogLine{Container: other, Text: "bob's"})
	}
	path := "/api/containers/" + id + "/logs"
	for query, want := range map[string]string{
		"":                                   "2026-01-02T03:04:05.678Z line 0\n2026-01-02T03:05:05.678Z line 1\n2026-01-02T03:06:05.678Z line 2\n2026-01-02T03:07:05.678Z line 3\n2026-01-02T03:08:05.678Z line 4\n",
		"?tail=1":                            "2026-01-02T03:08:05.678Z line 4\n",
		"?tail=0":                            "",
		"?since=2026-01-02T03:08:00Z":        "2026-01-02T03:08:05.678Z line 4\n",
		"?since=2026-01-02T03:07:00Z&tail=1": "2026-01-02T03:08:05.678Z line 4\n",
		"?since=1h":                          "",
	} {
		res := ask(t, srv, streamAlice, path+query)
		got, err := io.ReadAll(res.Body)
		if err != nil || string(got) != want || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%q: got %v, %s, %q, want %q", query, err, res.Header.Get("Content-Type"), got, want)
		}
	}
	for query, code := range map[string]int{"?since=yesterday": 400, "?since=-5m": 400, "?follow=maybe": 400, "?tail=-1": 400, "?tail=10001": 400} {
		if res := ask(t, srv, streamAlice, path+query); res.StatusCode != code {
			t.Errorf("%s: got %s", query, res.Status)
		}
	}
	if res := ask(t, srv, streamAlice, path, "Accept", "text/event-stream", "Last-Event-ID", "x"); res.StatusCode != 400 {
		t.Errorf("an odd ID: got %s", res.Status)
	}
	if res := ask(t, srv, streamAlice, "/api/containers/"+other+"/logs", "Accept", "text/event-stream"); res.StatusCode != 404 {
		t.Errorf("another's: got %s", res.Status)
	}

	lines := tail(t, srv, streamAlice, path+"?tail=2", "")
	come(t, lines, "line 3", "line 4")
	wrote(t, st, ide.LogLine{Container: other, Text: "bob's"})
	wrote(t, st, ide.LogLine{Text: "of the API", Source: ide.SourceAPI})
	wrote(t, st, ide.LogLine{Container: id, Text: "new"})
	last := come(t, lines, "new")
	wrote(t, st, ide.LogLine{Container: id, Text: "missed"})
	come(t, tail(t, srv, streamAlice, path, last), "missed")
	if _, open := <-tail(t, srv, streamAlice, path+"?follow=false&tail=0", ""); open {
		t.Error("without follow the stream goes on")
	}

	plain := bufio.NewScanner(ask(t, srv, streamAlice, path+"?follow=true&tail=1").Body)
	if !plain.Scan() || !strings.HasSuffix(plain.Text(), " missed") {
		t.Fatalf("plain: got %q", plain.Text())
	}
	wrote(t, st, ide.LogLine{Container: id, Text: "newer"})
	if !plain.Scan() || !strings.HasSuffix(plain.Text(), " newer") {
		t.Errorf("plain: got %q", plain.Text())
	}
}

func TestLogsGoWithTheRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.create(alice, "alice-1").Container.ID
	wrote(t, b.st, ide.LogLine{Container: id, Text: "before"})
	key := "{berth}:c:" + id + ":log"
	if n := b.rdb.XLen(t.Context(), key).Val(); n != 1 {
		t.Fatalf("%d lines are kept", n)
	}
	if _, err := b.st.Move(t.Context(), id, 1, ide.Failed, "test", "", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.st.Drop(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	wrote(t, b.st, ide.LogLine{Container: id, Text: "late"})
	if n := b.rdb.Exists(t.Context(), key).Val(); n != 0 {
		t.Error("the log of a container without a record is kept")
	}
}

func TestDashboardLogs(t *testing.T) {
	t.Parallel()
	st, srv := following(t)
	id := happen(t, st, "alice")
	wrote(t, st, ide.LogLine{Container: id, Node: "n2", Level: ide.LevelError, Text: "It Failed"})
	wrote(t, st, ide.LogLine{Container: id, Node: "n2", Level: ide.LevelWarn, Text: "it may fail"})
	wrote(t, st, ide.LogLine{Source: ide.SourceAPI, Text: "request"})
	wrote(t, st, ide.LogLine{Container: "k3xqh5zt2mwfa", Text: "begins"})
	const path = "/api/dashboard/logs"
	for query, want := range map[string][]string{
		"":                       {"It Failed", "it may fail", "request", "begins"},
		"?tail=2":                {"request", "begins"},
		"?container=" + id:       {"It Failed", "it may fail"},
		"?node=n2&level=error":   {"It Failed"},
		"?level=warn":            {"It Failed", "it may fail"},
		"?q=FAIL&tail=1":         {"it may fail"},
		"?q=request&level=debug": {"request"},
	} {
		lines := tail(t, srv, streamAdmin, path+query, "")
		come(t, lines, want...)
		if len(lines) > 0 {
			t.Errorf("%s: more came: %+v", query, <-lines)
		}
	}
	lines := tail(t, srv, streamAdmin, path+"?q=quay&level=warn&tail=0", "")
	wrote(t, st, ide.LogLine{Text: "quay", Level: ide.LevelInfo})
	wrote(t, st, ide.LogLine{Text: "pier", Level: ide.LevelError})
	wrote(t, st, ide.LogLine{Text: "Quay 1", Level: ide.LevelError})
	last := come(t, lines, "Quay 1")
	wrote(t, st, ide.LogLine{Text: "pier", Level: ide.LevelError})
	wrote(t, st, ide.LogLine{Text: "quay 2", Level: ide.LevelWarn})
	come(t, tail(t, srv, streamAdmin, path+"?q=quay&level=warn", last), "quay 2")
	if res := ask(t, srv, streamAlice, path); res.StatusCode != http.StatusForbidden {
		t.Errorf("a client: got %s", res.Status)
	}
	for _, query := range []string{"?level=loud", "?q=" + strings.Repeat("x", 201), "?tail=x"} {
		if res := ask(t, srv, streamAdmin, path+query); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %s", query, res.Status)
		}
	}
}

func TestLogStreamEndsWithItsKey(t *testing.T) {
	t.Parallel()
	st, srv := following(t)
	var key NewKeyAnswer
	send(t, srv, streamAdmin, "POST", "/api/keys", `{"name":"course-1","role":"viewer"}`, &key)
	lines, others := tail(t, srv, key.Key, "/api/dashboard/logs", ""), tail(t, srv, streamAdmin, "/api/dashboard/logs", "")
	wrote(t, st, ide.LogLine{Text: "for both"})
	come(t, lines, "for both")
	come(t, others, "for both")
	if err := st.RemoveKey(t.Context(), "course-1"); err != nil {
		t.Fatal(err)
	}
	select {
	case l, open := <-lines:
		if open {
			t.Errorf("got %+v, want the end", l)
		}
	case <-time.After(time.Minute):
		t.Error("a revoked key goes on listening")
	}
	wrote(t, st, ide.LogLine{Text: "for one"})
	come(t, others, "for one")
}

// TestASlowReaderCostsItselfOnly: of two readers one takes nothing; the other
// gets every line, and the slow one gets them when it comes back.
func TestASlowReaderCostsItselfOnly(t *testing.T) {
	t.Parallel()
	st, srv := following(t)
	const path, n = "/api/dashboard/logs?tail=0", 2000
	slow := ask(t, srv, streamAdmin, path) // is not read
	quick := tail(t, srv, streamAdmin, path, "")
	wrote(t, st, ide.LogLine{Text: "first"})
	before := come(t, quick, "first")
	got := make(chan []string)
	go func() {
		var texts []string
		for l := range quick {
			if texts = append(texts, l.Text); len(texts) == n {
				break
			}
		}
		got <- texts
	}()
	var want []string
	text := strings.Repeat("x", ide.MaxLogLine-100)
	for i := range n {
		want = append(want, fmt.Sprintf("%d %s", i, text))
	}
	for part := range n / 100 {
		sh := store.Shipment{}
		for _, w := range want[part*100 : part*100+100] {
			sh.Lines = append(sh.Lines, ide.LogLine{At: time.Now(), Source: ide.SourceStdout, Level: ide.LevelInfo, Text: w})
		}
		if _, err := st.ShipLogs(t.Context(), "n1", []store.Shipment{sh}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case texts := <-got:
		if diff := cmp.Diff(want, texts); diff != "" {
			t.Error("the quick reader did not get every line in order")
		}
	case <-time.After(time.Minute):
		t.Fatal("the quick reader waits for the slow one")
	}
	slow.Body.Close()
	again := tail(t, srv, streamAdmin, path, before)
	come(t, again, want[0], want[1])
}
