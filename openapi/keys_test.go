package openapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"
	"berth/queue"

	"github.com/google/go-cmp/cmp"
)

func TestKeysMadeAtRunTime(t *testing.T) {
	t.Parallel()
	st, srv, _ := streaming(t)
	var made NewKeyAnswer
	code := send(t, srv, streamAdmin, "POST", "/api/keys", `{"name":"course-1","role":"client","maxContainers":1,"buckets":["course-1-*"]}`, &made)
	if code != http.StatusCreated || len(made.Key) < MinKey || made.CreatedBy != "root" {
		t.Fatalf("got %d, %+v", code, made)
	}
	var list ContainerList
	if code := send(t, srv, made.Key, "GET", "/api/containers", "", &list); code != http.StatusOK {
		t.Errorf("the new key: got %d", code)
	}
	var e Envelope
	if code := send(t, srv, made.Key, "POST", "/api/containers/check", `{"s3Bucket":"another"}`, &e); code != http.StatusForbidden {
		t.Errorf("a bucket that the key may not use: got %d", code)
	}
	var check struct{ Limit int }
	if code := send(t, srv, made.Key, "POST", "/api/containers/check", `{"s3Bucket":"course-1-anna"}`, &check); code != http.StatusOK || check.Limit != 1 {
		t.Errorf("got %d, %+v, want the key's own limit", code, check)
	}
	if code := send(t, srv, streamAdmin, "POST", "/api/keys", `{"name":"course-1","role":"client"}`, &e); code != http.StatusConflict {
		t.Errorf("a name that is taken: got %d", code)
	}
	if code := send(t, srv, streamAdmin, "POST", "/api/keys", `{"name":"alice","role":"client"}`, &e); code != http.StatusConflict {
		t.Errorf("a name of the environment's: got %d", code)
	}
	if code := send(t, srv, made.Key, "GET", "/api/keys", "", &e); code != http.StatusForbidden {
		t.Errorf("a client lists keys: got %d", code)
	}
	var keys KeyList
	send(t, srv, streamAdmin, "GET", "/api/keys", "", &keys)
	last := keys.Keys[len(keys.Keys)-1]
	if len(keys.Keys) != 3 || last.Name != "course-1" || last.LastUsed == nil || last.Source != "api" {
		t.Errorf("got %+v", keys)
	}
	if keys.Keys[0].LastUsed == nil || keys.Keys[1].LastUsed != nil {
		t.Errorf("got %+v, want a use of the admin's key, which asks, and none of alice's", keys.Keys[:2])
	}
	all, _, err := st.Keys(t.Context())
	if err != nil || strings.Contains(all[0].Digest, made.Key) {
		t.Errorf("got %+v, %v", all, err)
	}
	revoke := func() int {
		req, _ := http.NewRequest(http.MethodDelete, srv.URL+"/api/keys/course-1", nil)
		req.Header.Set("Authorization", "Bearer "+streamAdmin)
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if code := revoke(); code != http.StatusNoContent {
		t.Errorf("revoke: got %d", code)
	}
	if code := send(t, srv, made.Key, "GET", "/api/containers", "", &e); code != http.StatusUnauthorized || e.Err.Code != ide.AuthenticationFailed {
		t.Errorf("the revoked key: got %d, %+v", code, e)
	}
	if code := revoke(); code != http.StatusNotFound {
		t.Errorf("revoke again: got %d", code)
	}
}

// A key is revoked through one replica; the other refuses it at once, and its
// own limits hold wherever it is used.
func TestKeysAreTheSameForAllReplicas(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := benchOn(t, b.rdb)
	newKey := func(body string) string {
		t.Helper()
		var made NewKeyAnswer
		b.read(b.call(rootKey, "POST", "/api/keys", body), http.StatusCreated, &made)
		return made.Key
	}
	slow := newKey(`{"name":"slow","role":"viewer","rateLimit":2}`)
	for i, want := range []int{200, 200, 429} {
		replica := []*bench{b, other}[i%2]
		if w := replica.call(slow, "GET", "/api/containers", ""); w.Code != want || w.Header().Get("RateLimit-Limit") != "2" {
			t.Errorf("request %d of a key with 2 a minute: got %d, %v, want %d", i+1, w.Code, w.Header(), want)
		}
	}
	few := newKey(`{"name":"few","role":"client","maxContainers":1,"buckets":["few-?"]}`)
	start := func(replica *bench, bucket string) int {
		return replica.call(few, "POST", "/api/containers/start", `{"s3Bucket":"`+bucket+`"}`).Code
	}
	if got := []int{start(b, "many-1"), start(b, "few-1"), start(other, "few-2")}; !cmp.Equal(got, []int{403, 202, 429}) {
		t.Errorf("a key for the buckets few-? with one container: got %v, want 403, 202 and 429", got)
	}
	if w := b.call(rootKey, "DELETE", "/api/keys/few", ""); w.Code != http.StatusNoContent {
		t.Fatalf("revoke: got %d %s", w.Code, w.Body)
	}
	for _, replica := range []*bench{b, other} {
		replica.refused(replica.call(few, "GET", "/api/containers", ""), 401, ide.AuthenticationFailed, "/api/containers")
	}
	if w := b.call(rootKey, "POST", "/api/keys", `{"name":"few","role":"owner"}`); w.Code != http.StatusBadRequest {
		t.Errorf("an unknown role: got %d", w.Code)
	}
}

// With room for ten on the only node, 200 starts at once through two replicas
// are ten starts.
func TestStartsAtOnceGetTheRoomThereIs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.st.PublishNodes(t.Context(), []ide.Node{{ID: "n1", CPU: 1e9, Memory: 64 << 30, State: "ready", Availability: "active", Filtered: true, At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	replicas := []*bench{b, benchOn(t, b.rdb)} // each start reserves 0.1 CPU
	answers := make(chan *httptest.ResponseRecorder, 200)
	start := func(i int) {
		answers <- replicas[i%2].call(aliceKey, "POST", "/api/containers/start", fmt.Sprintf(`{"s3Bucket":"bucket-%d"}`, i))
	}
	for i := range cap(answers) {
		go start(i)
	}
	var accepted []functions.StartAnswer
	for range cap(answers) {
		w := <-answers
		if w.Code == http.StatusAccepted {
			var s functions.StartAnswer
			b.read(w, http.StatusAccepted, &s)
			accepted = append(accepted, s)
			continue
		}
		e := b.refused(w, http.StatusServiceUnavailable, ide.ResourceLimitExceeded, "/api/containers/start")
		details, _ := e.Details.(map[string]any)
		if best, _ := details["bestNode"].(map[string]any); details["resource"] != "cpu" || best["freeCpu"] == nil || best["freeCpu"].(float64) > 0.9 || w.Header().Get("Retry-After") == "" {
			t.Fatalf("got %+v, %v, want which resource, what is free, and when to ask again", e, w.Header())
		}
	}
	if len(accepted) != 10 {
		t.Fatalf("%d starts were accepted, want 10", len(accepted))
	}
	var check functions.CheckAnswer
	b.read(b.call(aliceKey, "POST", "/api/containers/check", `{"s3Bucket":"bucket-x"}`), http.StatusOK, &check)
	if check.Fits || check.Code != ide.ResourceLimitExceeded || len(check.Nodes) > 0 || check.Live != 10 {
		t.Errorf("a check when it is full: got %+v", check)
	}
	b.stopFor(accepted[3].ID)
	b.read(b.call(aliceKey, "POST", "/api/containers/check", `{"s3Bucket":"bucket-x"}`), http.StatusOK, &check)
	if start(1); !check.Fits || (<-answers).Code != http.StatusAccepted {
		t.Error("there is room for another, and no start is accepted")
	}
	if start(0); (<-answers).Code != http.StatusServiceUnavailable {
		t.Error("there was room for one, and two are accepted")
	}
}

// stopFor has a container stopped, by a worker on an engine without it.
func (b *bench) stopFor(id string) {
	b.Helper()
	engine, err := swarm.New(swarm.Config{Host: swarmtest.NewServer(b).Host(), Instance: "test", Tolerance: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	deps := *b.deps
	deps.Swarm = engine
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { // the part of the node's worker
		defer close(done)
		for tick := time.Tick(10 * time.Millisecond); ctx.Err() == nil; <-tick {
			_ = functions.DropVolumes(ctx, &deps, "n1") // it ends in the middle of one
		}
	}()
	defer func() { cancel(); <-done }()
	var j functions.JobAnswer
	b.read(b.call(aliceKey, "DELETE", "/api/containers/"+id, ""), http.StatusAccepted, &j)
	if err := functions.Execute(ctx, &deps, queue.Delivery{Job: j.ID, Number: 1 << 20}); err != nil {
		b.Fatal(err)
	}
	if b.get(aliceKey, "/api/jobs/"+j.ID, &j); j.Status != ide.JobSucceeded {
		b.Fatalf("the stop is %s: %+v", j.Status, j.Error)
	}
}
