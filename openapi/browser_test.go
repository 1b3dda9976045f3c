package openapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/queue"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// tab is a page in Chromium, for which every host is the test's own server.
type tab struct {
	*testing.T
	ctx context.Context

	mu       sync.Mutex
	asked    []string // URLs of all requests
	messages []string // of the browser: what it refused, and why
}

func newTab(t *testing.T, address string) *tab {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is not in PATH")
		}
		t.Skip("needs chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(1280, 900), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("host-resolver-rules", "MAP * "+address), chromedp.WSURLReadTimeout(5*time.Minute))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	b := &tab{T: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	b.do("listen", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, t, log.Enable, cdp.Empty{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: `window.violations = []; document.addEventListener("securitypolicyviolation", e => violations.push(e.violatedDirective + " " + e.blockedURI + " " + e.sample))`})
		return err
	}))
	return b
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	case *log.EventEntryAdded:
		b.messages = append(b.messages, e.Entry.Text+" "+e.Entry.URL)
	}
}

func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.shot("failed")
		b.Fatalf("%s: %v; the browser says %v", what, err, b.messages)
	}
}

// shot keeps a picture in SCREENSHOTS, if that names a folder.
func (b *tab) shot(name string) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644)
	}
	if err != nil {
		b.Errorf("screenshot %s: %v", name, err)
	}
}

// cookie gives the browser a session.
func (b *tab) cookie(origin string, c *http.Cookie) {
	b.Helper()
	yes := true
	b.do("sign in", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.SetCookie, network.SetCookieParams{Name: c.Name, Value: c.Value, URL: origin, Path: "/", HTTPOnly: &yes, SameSite: network.CookieSameSiteStrict})
		return err
	}))
}

// site is an API and, as the gateway does it, a container's page on a sub-domain
// of its host.
type site struct {
	origin, container string
	writes            chan string // status, cookie, Sec-Fetch-Site
}

func newSite(t *testing.T, b *bench) (*site, string) {
	t.Helper()
	s := &site{writes: make(chan string, 10)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "x-web.") {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<!doctype html><title>mine</title><form method="post" action="` + s.origin + `/dashboard/queues/api/queues/default:pause"></form>`))
			return
		}
		rec := httptest.NewRecorder()
		b.api.ServeHTTP(rec, r)
		if r.Method == http.MethodPost && strings.HasPrefix(r.Host, "berth.") { // the browser asks its makers for updates, too
			s.writes <- strings.Join([]string{http.StatusText(rec.Code), map[bool]string{true: "cookie", false: "no cookie"}[r.Header.Get("Cookie") != ""], r.Header.Get("Sec-Fetch-Site")}, ", ")
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.origin, s.container = "http://berth.localhost:"+u.Port(), "http://x-web.berth.localhost:"+u.Port() // which browsers trust as they do TLS
	return s, u.Host
}

// asynqmon works under its policy, and asks nobody but us.
func TestQueuesInABrowser(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.queued(queue.JobTask, `{"job":"container-create:k3xqh5zt2mwfa:1","number":1}`)
	s, address := newSite(t, b)
	tab := newTab(t, address)
	tab.cookie(s.origin, b.signIn(rootKey))
	for view, shows := range map[string]string{
		"":                                    "default",
		"/queues/default?status=pending":      "job",
		"/queues/default/tasks/job":           "container-create:k3xqh5zt2mwfa:1",
		"/servers":                            "Servers",
		"/schedulers":                         "Schedulers",
		"/redis":                              "Redis Info",
		"/settings":                           "Settings",
		"/queues/default?status=pending&dark": "job",
	} {
		want, _ := json.Marshal(shows)
		tab.do("see "+view, chromedp.Navigate(s.origin+"/dashboard/queues"+view),
			chromedp.Poll[chromedp.Void](`document.querySelector("main, #root").innerText.includes(`+string(want)+`)`, chromedp.WithPollingTimeout(5*time.Minute)))
		violations, err := chromedp.Run(tab.ctx, chromedp.Evaluate[[]string](`violations`))
		if err != nil || len(violations) > 0 {
			t.Errorf("%q: %v, %v", view, violations, err)
		}
		tab.shot("queues" + strings.NewReplacer("/", "-", "?", "-", "=", "-", "&", "-").Replace(view))
	}
	tab.mu.Lock()
	defer tab.mu.Unlock()
	if len(tab.asked) < 10 || slices.ContainsFunc(tab.asked, func(u string) bool { return !strings.HasPrefix(u, s.origin+"/") && !strings.HasPrefix(u, "data:") }) {
		t.Errorf("it asked for %v", tab.asked)
	}
	if len(tab.messages) > 0 {
		t.Errorf("the browser says %v", tab.messages)
	}
}

// A page that a container serves is of the same site as the API, so its posts
// carry an admin's cookie: they change nothing.
func TestContainersPageCannotPauseAQueue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.queued(queue.JobTask, `{"job":"x","number":1}`)
	b.api = New(b.deps, Config{QueueWrite: true, Keys: []Key{{"root", ide.Admin, rootKey}}})
	s, address := newSite(t, b)
	tab := newTab(t, address)
	tab.cookie(s.origin, b.signIn(rootKey))
	tab.do("post", chromedp.Navigate(s.container+"/"),
		chromedp.Evaluate[chromedp.Void](`fetch("`+s.origin+`/dashboard/queues/api/queues/default:pause", {method: "POST", mode: "no-cors", credentials: "include"}).catch(() => {}).then(() => setTimeout(() => document.forms[0].submit())); undefined`))
	for _, how := range []string{"a request", "a form"} {
		select {
		case got := <-s.writes:
			if want := "Forbidden, cookie, same-site"; got != want || b.paused() {
				t.Errorf("%s: got %q, paused %t, want %q", how, got, b.paused(), want)
			}
		case <-time.After(5 * time.Minute):
			t.Fatalf("%s never came", how)
		}
	}
}
