package openapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"berth/internal/ide"
	"berth/queue"

	"github.com/hibiken/asynq"
)

// The page needs no key: it has nothing that is not in the program.
func TestPageOfTheDashboard(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, target := range []string{"/dashboard", "/dashboard/", "/dashboard/containers", "/dashboard/login"} {
		w := b.call("", "GET", target, "")
		if w.Code == http.StatusNotFound { // as tests are built, mostly
			if e := b.refused(w, http.StatusNotFound, ide.NotFound, target); !strings.Contains(e.Message, "run make ui") {
				t.Errorf("%s: got %+v", target, e)
			}
			continue
		}
		if h := w.Header(); w.Code != http.StatusOK || !strings.Contains(h.Get("Content-Security-Policy"), "trusted-types 'none'") || h.Get("Cache-Control") != "no-cache" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d, %v", target, w.Code, h)
		}
	}
	b.refused(b.call("", "GET", "/dashboard/assets/gone.js", ""), http.StatusNotFound, ide.NotFound, "/dashboard/assets/gone.js")
	b.refused(b.call("", "POST", "/dashboard", ""), http.StatusMethodNotAllowed, ide.MethodNotAllowed, "/dashboard")
}

// queued puts a task on a queue that no worker serves.
func (b *bench) queued(kind, payload string) {
	b.Helper()
	if _, err := asynq.NewClientFromRedisClient(b.rdb).Enqueue(asynq.NewTask(kind, []byte(payload)), asynq.Queue(queue.Default), asynq.TaskID(kind)); err != nil {
		b.Fatal(err)
	}
}

func TestQueuesAreShownToAdmins(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.queued(queue.JobTask, `{"job":"container-create:k3xqh5zt2mwfa:1","number":1,"more":"hunter2"}`)
	b.queued("another", `{"password":"hunter2"}`)
	c := b.signIn(rootKey)
	page := b.with(c, "GET", "/dashboard/queues", "")
	policy := page.Header().Get("Content-Security-Policy")
	if page.Code != http.StatusOK || !strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") || strings.Contains(policy, "unsafe") ||
		strings.Count(policy, "'sha256-") != 2 || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("got %d, %v", page.Code, page.Header())
	}
	if text := page.Body.String(); strings.Contains(text, "://") || strings.Contains(text, "fonts") || !strings.Contains(text, `window.FLAG_READ_ONLY="true"`) {
		t.Errorf("the page asks others, or lets change: %s", text)
	}
	if again := b.with(c, "GET", "/dashboard/queues/queues/default", "").Header().Get("Content-Security-Policy"); again == policy {
		t.Error("two answers have the same nonce")
	}
	list := b.with(c, "GET", "/dashboard/queues/api/queues/default/pending_tasks", "")
	var got struct {
		Tasks []struct{ Type, Payload string }
	}
	b.read(list, http.StatusOK, &got)
	if len(got.Tasks) != 2 || strings.Contains(list.Body.String(), "hunter2") || !strings.Contains(list.Body.String(), "container-create:k3xqh5zt2mwfa:1") {
		t.Errorf("got %s", list.Body)
	}
	script := b.with(c, "GET", "/dashboard/queues/static/js/main.5adda2da.chunk.js", "")
	if script.Code != http.StatusOK || !strings.HasPrefix(script.Header().Get("Content-Type"), "text/javascript") || !strings.Contains(script.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("a script: got %d, %v", script.Code, script.Header())
	}
	logo := b.with(c, "GET", "/dashboard/queues/static/media/logo-color.c2b0c1f3.svg", "")
	if logo.Code != http.StatusOK || logo.Header().Get("Content-Type") != "image/svg+xml" {
		t.Errorf("the logo: got %d, %v", logo.Code, logo.Header())
	}
	b.refused(b.with(c, "GET", "/dashboard/queues/static/js/none.js", ""), http.StatusNotFound, ide.NotFound, "/dashboard/queues/static/js/none.js")
}

// paused says whether the queue is.
func (b *bench) paused() bool {
	b.Helper()
	var q struct{ Current struct{ Paused bool } }
	w := b.call(rootKey, "GET", "/dashboard/queues/api/queues/default", "")
	if err := json.Unmarshal(w.Body.Bytes(), &q); err != nil || w.Code != http.StatusOK {
		b.Fatalf("got %d %s, %v", w.Code, w.Body, err)
	}
	return q.Current.Paused
}

// A queue is changed by admins only, where the operator allows it, and never by
// a page in a container, which is of the same site: it was done once.
func TestQueuesAreChangedByOurPageOnly(t *testing.T) {
	t.Parallel()
	const pause = "/dashboard/queues/api/queues/default:pause"
	b := newBench(t)
	b.queued(queue.JobTask, `{"job":"x","number":1}`)
	c := b.signIn(rootKey)
	b.refused(b.with(c, "POST", pause, ""), http.StatusForbidden, ide.Forbidden, pause)
	if b.paused() {
		t.Error("without QUEUE_ADMIN_WRITE a queue is paused")
	}
	b.api = New(b.deps, Config{QueueWrite: true, Keys: []Key{{"root", ide.Admin, rootKey}, {"alice", ide.Client, aliceKey}, {"eve", ide.Viewer, viewKey}}})
	for name, headers := range map[string][]string{
		"a container's page":                     {"Origin", "http://x-web.berth.test", "Sec-Fetch-Site", "same-site"},
		"a container's page, of older browsers":  {"Origin", "http://x-web.berth.test", "Sec-Fetch-Site", ""},
		"another site":                           {"Origin", "http://evil.test", "Sec-Fetch-Site", "cross-site"},
		"a page that hides where it is from":     {"Origin", "null", "Sec-Fetch-Site", ""},
		"a container's page on the API's scheme": {"Origin", "https://x-web.berth.test", "Sec-Fetch-Site", "same-site"},
	} {
		if w := b.with(c, "POST", pause, "", headers...); w.Code != http.StatusForbidden || b.paused() {
			t.Errorf("%s: got %d", name, w.Code)
		}
	}
	for _, key := range []string{aliceKey, viewKey} {
		b.refused(b.with(b.signIn(key), "POST", pause, ""), http.StatusForbidden, ide.Forbidden, pause)
	}
	if w := b.with(c, "POST", pause, ""); w.Code >= 300 || !b.paused() {
		t.Errorf("our page: got %d %s", w.Code, w.Body)
	}
}
