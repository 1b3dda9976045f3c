package openapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// hookBench is a bench whose webhooks may be on loopback, two for each key.
func hookBench(t *testing.T) *bench {
	b := newBench(t)
	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b.deps.WebhookAllow, b.deps.WebhooksPerKey, b.deps.Hooks = allow, 2, functions.WebhookClient(allow)
	b.api = New(b.deps, Config{Keys: []Key{{"root", ide.Admin, rootKey}, {"alice", ide.Client, aliceKey}, {"bob", ide.Client, bobKey}, {"eve", ide.Viewer, viewKey}}})
	return b
}

func (b *bench) hook(key, body string) NewWebhookAnswer {
	b.Helper()
	var w NewWebhookAnswer
	b.read(b.call(key, "POST", "/api/webhooks", body), http.StatusCreated, &w)
	return w
}

func TestWebhookSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	b := hookBench(t)
	made := b.hook(aliceKey, `{"url":"http://127.0.0.1:9/x","events":["job.failed","job.failed"]}`)
	if !strings.HasPrefix(made.Secret, "whsec_") || made.Owner != "alice" || made.All || !slices.Equal(made.Events, []string{"job.failed"}) {
		t.Errorf("got %+v", made)
	}
	for _, target := range []string{"/api/webhooks", "/api/webhooks/" + made.ID, "/api/webhooks/" + made.ID + "/deliveries"} {
		w := b.call(aliceKey, "GET", target, "")
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "whsec_") || strings.Contains(w.Body.String(), "ealed") {
			t.Errorf("%s: got %d %s", target, w.Code, w.Body)
		}
	}
	var rotated NewWebhookAnswer
	b.read(b.call(aliceKey, "POST", "/api/webhooks/"+made.ID+"/rotate", ""), http.StatusOK, &rotated)
	if rotated.Secret == made.Secret || rotated.OldSecrets == nil || time.Until(*rotated.OldSecrets) < 23*time.Hour {
		t.Errorf("got %+v", rotated)
	}
	const own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	if got := b.hook(aliceKey, `{"url":"http://127.0.0.1:9/x","secret":"`+own+`"}`); got.Secret != own {
		t.Errorf("got %q, want the caller's own", got.Secret)
	}
	b.refused(b.call(aliceKey, "POST", "/api/webhooks", `{"url":"http://127.0.0.1:9/x"}`), http.StatusConflict, ide.Conflict, "/api/webhooks")
	if log := b.log.String(); strings.Contains(log, "whsec_") {
		t.Errorf("the log has a secret: %s", log)
	}
}

func TestWebhooksAreTheirOwners(t *testing.T) {
	t.Parallel()
	b := hookBench(t)
	made := b.hook(aliceKey, `{"url":"http://127.0.0.1:9/alice"}`)
	b.hook(rootKey, `{"url":"http://127.0.0.1:9/root"}`)
	b.create(alice, "bucket-1")
	var list DeliveryList
	b.get(aliceKey, "/api/webhooks/"+made.ID+"/deliveries", &list)
	if list.Total != 1 || list.Deliveries[0].Status != ide.DeliveryWaiting || list.Deliveries[0].NextAt == nil {
		t.Fatalf("got %+v", list)
	}
	one := "/api/webhooks/" + made.ID
	redeliver := one + "/deliveries/" + list.Deliveries[0].ID + "/redeliver"
	for _, c := range []struct{ method, target string }{{"GET", one}, {"GET", one + "/deliveries"}, {"POST", one + "/rotate"}, {"POST", redeliver}, {"DELETE", one}} {
		b.refused(b.call(bobKey, c.method, c.target, ""), http.StatusNotFound, ide.NotFound, c.target)
		viewer := b.call(viewKey, c.method, c.target, "")
		if c.method == "GET" {
			b.read(viewer, http.StatusOK, &struct{}{})
			continue
		}
		b.refused(viewer, http.StatusForbidden, ide.Forbidden, c.target)
	}
	b.refused(b.call(viewKey, "POST", "/api/webhooks", `{"url":"http://127.0.0.1:9/eve"}`), http.StatusForbidden, ide.Forbidden, "/api/webhooks")
	for key, want := range map[string]int{aliceKey: 1, bobKey: 0, viewKey: 2, rootKey: 2} {
		var got WebhookList
		if b.get(key, "/api/webhooks", &got); len(got.Webhooks) != want || got.Webhooks == nil {
			t.Errorf("%.5s sees %d, want %d", key, len(got.Webhooks), want)
		}
	}
	var again DeliveryAnswer
	b.read(b.call(aliceKey, "POST", redeliver, ""), http.StatusAccepted, &again)
	missing := one + "/deliveries/1-0/redeliver"
	b.refused(b.call(aliceKey, "POST", missing, ""), http.StatusNotFound, ide.NotFound, missing)
	if w := b.call(rootKey, "DELETE", one, ""); w.Code != http.StatusNoContent {
		t.Errorf("an admin deletes it: got %d %s", w.Code, w.Body)
	}
	b.refused(b.call(aliceKey, "GET", one, ""), http.StatusNotFound, ide.NotFound, one)
}

func TestWebhookOfAStart(t *testing.T) {
	t.Parallel()
	b := hookBench(t)
	var body []byte
	var header http.Header
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		close(done)
	}))
	t.Cleanup(srv.Close)
	var started functions.StartAnswer
	b.read(b.call(aliceKey, "POST", "/api/containers/start", `{"s3Bucket":"workspace","webhook":{"url":"`+srv.URL+`","events":["container.starting"]}}`), http.StatusAccepted, &started)
	var c ContainerAnswer
	b.get(aliceKey, "/api/containers/"+started.ID, &c)
	courier := functions.NewCourier(b.deps)
	if err := courier.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	courier.Wait()
	select {
	case <-done:
	default:
		t.Fatal("it hears nothing")
	}
	var secrets struct{ WebhookSecret string }
	b.get(aliceKey, "/api/containers/"+started.ID+"/credentials", &secrets)
	key, err := standardwebhooks.NewWebhook(secrets.WebhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Verify(body, header); err != nil {
		t.Error(err)
	}
	var told ide.Payload
	if err := json.Unmarshal(body, &told); err != nil || told.Type != "container.starting" || told.Data.Container.ID != started.ID {
		t.Errorf("got %s, %v", body, err)
	}
	var list DeliveryList
	b.get(aliceKey, "/api/webhooks/"+c.Webhook+"/deliveries", &list)
	if d := list.Deliveries[0]; d.Status != ide.DeliveryDelivered || d.MessageID != header.Get("webhook-id") || d.Attempts[0].Status != 200 || string(d.Payload) != string(body) {
		t.Errorf("got %+v", d)
	}
	var standing WebhookList
	if b.get(aliceKey, "/api/webhooks", &standing); len(standing.Webhooks) != 0 {
		t.Errorf("it is among the standing ones: %+v", standing)
	}
	if w := b.call(aliceKey, "DELETE", "/api/webhooks/"+c.Webhook, ""); w.Code != http.StatusNoContent {
		t.Errorf("delete: got %d", w.Code)
	}
	b.get(aliceKey, "/api/containers/"+started.ID+"/credentials", &secrets)
}

func TestWebhookRequestIsChecked(t *testing.T) {
	t.Parallel()
	b := hookBench(t)
	const secret = "s3cr3t-t0k3n"
	for name, body := range map[string]string{
		"no URL": `{}`, "a private address": `{"url":"http://10.0.0.1/` + secret + `"}`, "a password": `{"url":"https://u:` + secret + `@hooks.test/"}`,
		"a short secret": `{"url":"https://hooks.test/","secret":"` + secret + `"}`, "an odd type": `{"url":"https://hooks.test/","events":["` + secret + `"]}`,
	} {
		w := b.call(aliceKey, "POST", "/api/webhooks", body)
		b.refused(w, http.StatusBadRequest, ide.ValidationFailed, "/api/webhooks")
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s: the value comes back in %s", name, w.Body)
		}
		if name != "no URL" {
			b.refused(b.call(aliceKey, "POST", "/api/containers/check", `{"s3Bucket":"workspace","webhook":`+body+`}`), http.StatusBadRequest, ide.ValidationFailed, "/api/containers/check")
		}
	}
}

func TestDocumentDescribesWebhooks(t *testing.T) {
	t.Parallel()
	doc := Document("v1")
	for _, kind := range ide.WebhookTypes() {
		item := doc.Webhooks[kind]
		if item == nil || item.Post == nil || item.Post.Summary == "" || item.Post.RequestBody.Content["application/json"].Schema == nil {
			t.Errorf("%s is not described", kind)
		}
	}
	if len(doc.Webhooks) != len(ide.WebhookTypes()) || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("%d webhooks in OpenAPI %s", len(doc.Webhooks), doc.OpenAPI)
	}
}
