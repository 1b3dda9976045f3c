package openapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// owned is what alice has, and what nobody has in the same form, by the part
// of a path that stands before it: /api/containers/{id}. An operation on
// something else has to say here what alice has of it.
type owned struct{ hers, nobodys string }

func (w walk) owned() map[string]owned {
	hook := w.hook(aliceKey, `{"url":"http://127.0.0.1:9/alice"}`).ID
	out := w.create(alice, "alices-bucket")
	var list DeliveryList
	w.get(aliceKey, "/api/webhooks/"+hook+"/deliveries", &list)
	other := ide.NewID()
	return map[string]owned{
		"containers": {out.Container.ID, other},
		"container":  {out.Container.ID, other},
		"jobs":       {out.Job.ID, "container-create:" + other + ":1"},
		"webhooks":   {hook, ide.NewID()},
		"deliveries": {list.Deliveries[0].ID, "1-0"},
		"keys":       {"alice", "nobod"},
		"nodes":      {"n1", "n9"},               // nobody's, too
		"schedules":  {"idle-sweep", "no-sweep"}, // nobody's: a client must not tell one from none
	}
}

// TestNoKeySeesAnothersThings goes through every operation of the document as
// bob and asks about what is alice's: bob's answer is the one he gets about
// what does not exist, and nothing of hers has changed.
func TestNoKeySeesAnothersThings(t *testing.T) {
	t.Parallel()
	w := walk{hookBench(t), Document("v9")}
	have := w.owned()
	before := w.everything(t)
	each(w.doc, func(op *huma.Operation) {
		r, nobodys := w.good(op), w.good(op)
		if strings.Contains(op.Path, "{") {
			var ok bool
			if r.path, nobodys.path, ok = fill(op.Path, have); !ok {
				t.Errorf("%s: the tenancy test does not know what alice has of %s; add it to owned", op.OperationID, op.Path)
				return
			}
			w.same(t, op, r, nobodys, have)
		}
		for _, p := range op.Parameters { // what may name something of hers
			if (p.In != "query" && p.In != "header") || p.Schema.Type != "string" || len(p.Schema.Enum) > 0 || p.Name == "Prefer" || p.Name == "Last-Event-ID" || streams(op) {
				continue
			}
			for _, o := range have {
				a, b := r, nobodys
				a.query, b.query = with(r.query, p.Name, o.hers), with(nobodys.query, p.Name, o.nobodys)
				w.same(t, op, a, b, have)
			}
		}
	})
	if diff := cmp.Diff(before, w.everything(t)); diff != "" {
		t.Errorf("bob changed something (-before +after):\n%s", diff)
	}
	each(w.doc, func(op *huma.Operation) {
		if strings.Contains(op.Path, "{") || streams(op) {
			return
		}
		r := w.good(op)
		rec := w.call(bobKey, op.Method, r.target(), r.text(t))
		for kind, o := range have {
			if kind != "nodes" && strings.Contains(rec.Body.String(), o.hers) || strings.Contains(rec.Body.String(), "alices-bucket") {
				t.Errorf("%s shows bob alice's %s: %s", op.OperationID, kind, rec.Body)
			}
		}
	})
}

func streams(op *huma.Operation) bool {
	ok := op.Responses["200"]
	return ok != nil && ok.Content["text/event-stream"] != nil
}

// fill puts what alice has, and what nobody has, into a path.
func fill(template string, have map[string]owned) (hers, nobodys string, ok bool) {
	a := strings.Split(template, "/")
	b := slices.Clone(a)
	for i, part := range a {
		if !strings.HasPrefix(part, "{") {
			continue
		}
		o, known := have[a[i-1]]
		if !known {
			return "", "", false
		}
		a[i], b[i] = o.hers, o.nobodys
	}
	return strings.Join(a, "/"), strings.Join(b, "/"), true
}

func with(q url.Values, name, value string) url.Values {
	q = maps.Clone(q)
	q.Set(name, value)
	return q
}

// same checks that bob's answer about a thing of alice's differs in nothing
// from the one about a thing that does not exist.
func (w walk) same(t *testing.T, op *huma.Operation, hers, nobodys request, have map[string]owned) {
	t.Helper()
	a, b := w.call(bobKey, op.Method, hers.target(), hers.text(t)), w.call(bobKey, op.Method, nobodys.target(), nobodys.text(t))
	strip := func(rec *httptest.ResponseRecorder, r request, o func(owned) string) string {
		body := strings.ReplaceAll(rec.Body.String(), r.path, "PATH")
		things := slices.SortedFunc(maps.Values(have), func(a, b owned) int { return len(o(b)) - len(o(a)) })
		for _, thing := range things { // a job's ID has a container's in it
			body = strings.ReplaceAll(body, o(thing), "THING")
		}
		var e Envelope
		if json.Unmarshal(rec.Body.Bytes(), &e) == nil && e.Err != nil {
			stamp, _ := json.Marshal(e.Timestamp)
			body = strings.ReplaceAll(body, string(stamp), "TIME")
		}
		h := rec.Header().Clone()
		for _, name := range []string{"X-Request-ID", "Ratelimit-Remaining", "Ratelimit-Reset", "Content-Length"} {
			h.Del(name)
		}
		return fmt.Sprintf("%d %v %s", rec.Code, h, body)
	}
	got, want := strip(a, hers, func(o owned) string { return o.hers }), strip(b, nobodys, func(o owned) string { return o.nobodys })
	if got != want {
		t.Errorf("%s %s tells bob of alice's:\n%s\nabout nobody's:\n%s", op.Method, hers.target(), got, want)
	}
	if strings.Contains(op.Path, "{") && a.Code < 400 {
		t.Errorf("%s %s: bob got %d %s", op.Method, hers.target(), a.Code, a.Body)
	}
}

// everything is what Redis holds, but what says that somebody has asked.
func (w walk) everything(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, k := range w.rdb.Keys(t.Context(), "*").Val() {
		if strings.HasPrefix(k, "rate:") || k == "{berth}:keys:used" {
			continue
		}
		var cmd redis.Cmder
		switch w.rdb.Type(t.Context(), k).Val() {
		case "string":
			cmd = w.rdb.Get(t.Context(), k)
		case "list":
			cmd = w.rdb.LRange(t.Context(), k, 0, -1)
		case "set":
			cmd = w.rdb.SMembers(t.Context(), k)
		case "hash":
			fields := w.rdb.HGetAll(t.Context(), k).Val()
			for f, v := range fields {
				all[k+" "+f] = v
			}
			continue
		case "zset":
			cmd = w.rdb.ZRangeWithScores(t.Context(), k, 0, -1)
		case "stream":
			cmd = w.rdb.XRange(t.Context(), k, "-", "+")
		}
		all[k] = cmd.String()
	}
	return all
}

// A stream shows bob his events and none of alice's, whatever he asks for.
func TestNoStreamTellsOfAnothersThings(t *testing.T) {
	t.Parallel()
	w := walk{hookBench(t), Document("v9")}
	w.follow()
	srv := httptest.NewServer(w.api)
	t.Cleanup(srv.Close)
	each(w.doc, func(op *huma.Operation) {
		if !streams(op) || strings.Contains(op.Path, "{") {
			return
		}
		if op.OperationID == "stream-logs" { // all there is, or nothing
			w.refused(w.call(bobKey, op.Method, op.Path, ""), http.StatusForbidden, ide.Forbidden, op.Path)
			return
		}
		all := map[string]string{"stream-events": "?types=*", "stream-dashboard": "?topics=overview,nodes,containers,jobs,logs"}[op.OperationID]
		for _, query := range []string{"", all} {
			for _, last := range []string{"", "0-0"} {
				w.listens(t, srv, op.Path+query, last)
			}
		}
	})
	in := eventsInput{Container: "hers"}
	if e := (ide.Event{Type: "container.running", Container: "hers", Owner: "alice"}); in.wants(bob, nil, e) || !in.wants(alice, nil, e) {
		t.Error("whoever names a container sees its events")
	}
}

// listens opens a stream as bob and reads until an event of his own.
func (w walk) listens(t *testing.T, srv *httptest.Server, target, last string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bobKey)
	req.Header.Set("Last-Event-ID", last)
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && !strings.HasSuffix(lines.Text(), ": hello") {
	} // it has begun
	hers, his := w.create(alice, "alices-bucket").Container.ID, w.create(bob, "bobs-bucket").Container.ID
	for lines.Scan() {
		if strings.Contains(lines.Text(), hers) || strings.Contains(lines.Text(), "alice") {
			t.Errorf("%s shows bob %s", target, lines.Text())
		}
		if strings.Contains(lines.Text(), his) {
			return
		}
	}
	t.Errorf("%s never showed bob his own: %v", target, lines.Err())
}
