package dashboard

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"

	"berth/internal/ide"
	"berth/queue"

	"github.com/hibiken/asynqmon"
)

// QueuesPath is where the queue's own page is: asynqmon.
const QueuesPath = Path + "/queues"

// queues is asynqmon with what it lacks: a policy, and a page that asks nobody
// outside.
type queues struct {
	mon    http.Handler
	index  []byte // noncePlace stands where each answer has its nonce
	policy string // the same
	refuse func(http.ResponseWriter, *http.Request, error)
}

// noncePlace cannot come in the page by chance.
const noncePlace = "nonce-place-nonce-place"

// NewQueues returns asynqmon's handler for QueuesPath and all below it. Who may
// see it is the caller's to say. Without write it only shows. refuse answers
// with an error.
func NewQueues(q *queue.Client, write bool, refuse func(http.ResponseWriter, *http.Request, error)) (http.Handler, error) {
	mon := asynqmon.New(asynqmon.Options{
		RootPath: QueuesPath, RedisConnOpt: q, ReadOnly: !write,
		PayloadFormatter: asynqmon.PayloadFormatterFunc(showPayload), ResultFormatter: asynqmon.ResultFormatterFunc(showNothing),
	})
	page := answer(mon, http.MethodGet, QueuesPath)
	s := &queues{mon: mon, refuse: refuse}
	var err error
	if s.index, s.policy, err = secure(page.body.Bytes()); err != nil {
		return nil, fmt.Errorf("read asynqmon's page: %w", err)
	}
	return s, nil
}

// showPayload shows of a task's payload what a delivery has, and nothing that
// it should not have.
func showPayload(kind string, payload []byte) string {
	var d queue.Delivery
	if kind != queue.JobTask || json.Unmarshal(payload, &d) != nil {
		return "(not shown)"
	}
	shown, err := json.Marshal(d)
	if err != nil {
		return "(not shown)"
	}
	return string(shown)
}

// showNothing is for results, which our tasks do not have.
func showNothing(string, []byte) string { return "(not shown)" }

// Parts of asynqmon's page.
var (
	outside = regexp.MustCompile(`<link[^>]+href="https?://[^>]*>`)
	scoped  = regexp.MustCompile(`<link rel="manifest"[^>]*>`) // browsers ask for it without the cookie
	inline  = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
)

// secure takes out of the page what asks others, and returns it with a policy
// that its scripts pass by their hashes and its style sheets, which they make,
// by a nonce.
func secure(page []byte) (index []byte, policy string, err error) {
	page = scoped.ReplaceAll(outside.ReplaceAll(page, nil), nil)
	scripts := inline.FindAllSubmatch(page, -1)
	if len(scripts) != 2 || !bytes.Contains(page, []byte("<head>")) || bytes.Contains(page, []byte("://")) {
		return nil, "", fmt.Errorf("it is another one than expected, with %d scripts", len(scripts))
	}
	page = bytes.Replace(page, []byte("<head>"), []byte(`<head><meta property="csp-nonce" content="`+noncePlace+`"/>`), 1)
	var hashes strings.Builder
	for _, s := range scripts {
		sum := sha256.Sum256(s[1])
		hashes.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	return page, "default-src 'none'; script-src 'self'" + hashes.String() + "; style-src 'self' 'nonce-" + noncePlace + "'; img-src 'self' data:; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nil
}

// ServeHTTP implements http.Handler.
func (s *queues) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, QueuesPath)
	ext := path.Ext(name)
	switch {
	case strings.HasPrefix(name, "/api/"):
		s.api(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		s.refuse(w, r, ide.Errorf(ide.MethodNotAllowed, "%s is not allowed here.", r.Method))
	case ext == "":
		s.page(w)
	default:
		s.file(w, r, ext)
	}
}

// api hands on what asynqmon answers, but for what went wrong on our side, which
// it tells in the words of who failed.
func (s *queues) api(w http.ResponseWriter, r *http.Request) {
	got := &recorded{header: w.Header(), status: http.StatusOK}
	if s.mon.ServeHTTP(got, r); got.status >= http.StatusInternalServerError {
		s.refuse(w, r, ide.Transient(ide.QueueUnavailable, errors.New(strings.TrimSpace(got.body.String())), "The queue does not answer."))
		return
	}
	w.WriteHeader(got.status)
	_, _ = w.Write(got.body.Bytes()) // a client that has gone away
}

// page answers with the index, which also has all views.
func (s *queues) page(w http.ResponseWriter) {
	nonce := rand.Text()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", strings.Replace(s.policy, noncePlace, nonce, 1))
	_, _ = w.Write(bytes.Replace(s.index, []byte(noncePlace), []byte(nonce), 1)) // a client that has gone away
}

// file answers with one of asynqmon's files. It gives the index for those that
// are not there, and icons the wrong type.
func (s *queues) file(w http.ResponseWriter, r *http.Request, ext string) {
	got := answer(s.mon, http.MethodGet, r.URL.Path)
	if got.status != http.StatusOK || bytes.HasPrefix(got.body.Bytes(), []byte("<!doctype html>")) {
		s.refuse(w, r, ide.Errorf(ide.NotFound, "There is nothing here."))
		return
	}
	h := w.Header()
	h.Set("Content-Type", got.header.Get("Content-Type"))
	if kind := kinds[ext]; kind != "" {
		h.Set("Content-Type", kind)
	}
	if strings.Contains(r.URL.Path, "/static/") {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	_, _ = w.Write(got.body.Bytes()) // a client that has gone away
}

// recorded is an answer of asynqmon's that is not handed on as it is.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorded) WriteHeader(status int)      { r.status = status }

func answer(h http.Handler, method, target string) *recorded {
	out := &recorded{header: http.Header{}, status: http.StatusOK}
	r, err := http.NewRequest(method, "/", nil)
	if err != nil {
		panic("dashboard: " + err.Error()) // the constants above
	}
	r.URL.Path, r.RequestURI = target, target
	h.ServeHTTP(out, r)
	return out
}
