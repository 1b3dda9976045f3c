package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/functions"
	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

func TestEveryErrorHasTheEnvelope(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mine := b.create(alice, "alice-1")
	stop := mine.Container.ID
	if _, err := functions.StopContainer.Enqueue(t.Context(), b.deps, alice, &functions.StopContainerArgs{ID: stop}); err != nil {
		t.Fatal(err)
	}
	const start = "/api/containers/start"
	good := `{"s3Bucket":"workspace"}`
	for name, tc := range map[string]struct {
		key, method, target, body string
		headers                   []string
		status                    int
		code                      ide.Code
		says                      string
	}{
		"unknown path":                {aliceKey, "GET", "/api/nothing", "", nil, 404, ide.NotFound, ""},
		"unknown path elsewhere":      {aliceKey, "GET", "/nothing", "", nil, 404, ide.NotFound, ""},
		"unknown path without a key":  {"", "GET", "/api/nothing", "", nil, 401, ide.AuthenticationFailed, ""},
		"wrong method":                {aliceKey, "PATCH", "/api/containers", "", nil, 405, ide.MethodNotAllowed, "PATCH"},
		"wrong method, public path":   {"", "POST", "/livez", "", nil, 405, ide.MethodNotAllowed, "POST"},
		"broken JSON":                 {aliceKey, "POST", start, `{"s3Bucket":`, nil, 400, ide.ValidationFailed, ""},
		"not an object":               {aliceKey, "POST", start, `["s3Bucket"]`, nil, 400, ide.ValidationFailed, "body"},
		"two objects":                 {aliceKey, "POST", start, good + good, nil, 400, ide.ValidationFailed, ""},
		"no body":                     {aliceKey, "POST", start, "", nil, 400, ide.ValidationFailed, "body"},
		"no bucket":                   {aliceKey, "POST", start, `{}`, nil, 400, ide.ValidationFailed, "s3Bucket"},
		"bucket is a number":          {aliceKey, "POST", start, `{"s3Bucket":7}`, nil, 400, ide.ValidationFailed, "body.s3Bucket"},
		"unknown field":               {aliceKey, "POST", start, `{"s3Bucket":"workspace","s3bukket":"x"}`, nil, 400, ide.ValidationFailed, "s3bukket"},
		"wrong-case field":            {aliceKey, "POST", start, `{"S3Bucket":"workspace"}`, nil, 400, ide.ValidationFailed, ""},
		"wrong-case field beside":     {aliceKey, "POST", start, `{"s3Bucket":"workspace","vncpassword":"hunter22"}`, nil, 400, ide.ValidationFailed, "vncpassword"},
		"VNC password too long":       {aliceKey, "POST", start, `{"s3Bucket":"workspace","vncPassword":"123456789"}`, nil, 400, ide.ValidationFailed, "vncPassword"},
		"VNC password 9 bytes":        {aliceKey, "POST", start, `{"s3Bucket":"workspace","vncPassword":"passwörd"}`, nil, 400, ide.ValidationFailed, "vncPassword"},
		"bucket of a bad form":        {aliceKey, "POST", start, `{"s3Bucket":"Work Space"}`, nil, 400, ide.InvalidS3Bucket, "bucket"},
		"image not allowed":           {aliceKey, "POST", start, `{"s3Bucket":"workspace","image":"evil"}`, nil, 400, ide.ValidationFailed, "image"},
		"unknown query parameter":     {aliceKey, "GET", "/api/containers?stauts=running", "", nil, 400, ide.ValidationFailed, "stauts"},
		"unknown status":              {aliceKey, "GET", "/api/containers?status=lost", "", nil, 400, ide.ValidationFailed, "status"},
		"limit below":                 {aliceKey, "GET", "/api/containers?limit=0", "", nil, 400, ide.ValidationFailed, "limit"},
		"limit above":                 {aliceKey, "GET", "/api/jobs?limit=201", "", nil, 400, ide.ValidationFailed, "limit"},
		"limit is no number":          {aliceKey, "GET", "/api/jobs?limit=many", "", nil, 400, ide.ValidationFailed, "limit"},
		"wait above":                  {aliceKey, "GET", "/api/jobs/" + mine.Job.ID + "?wait=61", "", nil, 400, ide.ValidationFailed, "wait"},
		"force is no boolean":         {aliceKey, "DELETE", "/api/containers/" + stop + "?force=perhaps", "", nil, 400, ide.ValidationFailed, "force"},
		"Idempotency-Key too long":    {aliceKey, "POST", start, good, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, ide.ValidationFailed, "Idempotency-Key"},
		"body too large":              {aliceKey, "POST", start, `{"s3Bucket":"` + strings.Repeat("x", 64<<10) + `"}`, nil, 413, ide.BodyTooLarge, ""},
		"wrong content type":          {aliceKey, "POST", start, good, []string{"Content-Type", "text/plain"}, 415, ide.UnsupportedMediaType, "application/json"},
		"form":                        {aliceKey, "POST", start, "s3Bucket=workspace", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, ide.UnsupportedMediaType, ""},
		"viewer starts":               {viewKey, "POST", start, good, nil, 403, ide.Forbidden, "viewer"},
		"viewer stops":                {viewKey, "DELETE", "/api/containers/" + stop, "", nil, 403, ide.Forbidden, "viewer"},
		"viewer cancels":              {viewKey, "DELETE", "/api/jobs/" + mine.Job.ID, "", nil, 403, ide.Forbidden, "viewer"},
		"viewer asks for passwords":   {viewKey, "GET", "/api/containers/" + stop + "/credentials", "", nil, 403, ide.Forbidden, "viewer"},
		"no such container":           {rootKey, "GET", "/api/containers/nothing", "", nil, 404, ide.ContainerNotFound, "nothing"},
		"no such job":                 {rootKey, "GET", "/api/jobs/nothing", "", nil, 404, ide.JobNotFound, "nothing"},
		"other owner's container":     {bobKey, "GET", "/api/containers/" + stop, "", nil, 404, ide.ContainerNotFound, stop},
		"other owner's events":        {bobKey, "GET", "/api/containers/" + stop + "/events", "", nil, 404, ide.ContainerNotFound, stop},
		"other owner's log":           {bobKey, "GET", "/api/containers/" + stop + "/logs", "", nil, 404, ide.ContainerNotFound, stop},
		"other owner's log, streamed": {bobKey, "GET", "/api/containers/" + stop + "/logs", "", []string{"Accept", "text/event-stream"}, 404, ide.ContainerNotFound, stop},
		"client's log of everything":  {aliceKey, "GET", "/api/dashboard/logs?container=" + stop, "", nil, 403, ide.Forbidden, "viewer's key"},
		"other owner's passwords":     {bobKey, "GET", "/api/containers/" + stop + "/credentials", "", nil, 404, ide.ContainerNotFound, stop},
		"other owner's stop":          {bobKey, "DELETE", "/api/containers/" + stop, "", nil, 404, ide.ContainerNotFound, stop},
		"other owner's job":           {bobKey, "GET", "/api/jobs/" + mine.Job.ID, "", nil, 404, ide.JobNotFound, mine.Job.ID},
		"other owner's cancel":        {bobKey, "DELETE", "/api/jobs/" + mine.Job.ID, "", nil, 404, ide.JobNotFound, mine.Job.ID},
		"state does not allow it":     {aliceKey, "POST", "/api/containers/" + stop + "/probe", "", nil, 409, ide.Conflict, "stopping"},
		"job that cannot be canceled": {aliceKey, "DELETE", "/api/jobs/container-stop:" + stop + ":1", "", nil, 409, ide.Conflict, "container-stop"},
	} {
		t.Run(name, func(t *testing.T) {
			w := b.call(tc.key, tc.method, tc.target, tc.body, tc.headers...)
			path, _, _ := strings.Cut(tc.target, "?")
			e := b.refused(w, tc.status, tc.code, path)
			if all := w.Body.String(); !strings.Contains(all, tc.says) {
				t.Errorf("got %s, want it to say %q", all, tc.says)
			}
			if tc.code == ide.Internal || e.RetryAfter != 0 {
				t.Errorf("got %+v", e)
			}
		})
	}
	if list, _, err := b.st.Containers(t.Context(), filterAll); err != nil || len(list) != 1 {
		t.Errorf("refused requests made containers: %d, %v", len(list), err)
	}
}

func TestWrongMethodNamesTheRightOnes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for target, want := range map[string]string{"/api/containers": "GET, HEAD", "/api/jobs/x": "DELETE, GET, HEAD", "/api/health": "GET, HEAD"} {
		if got := b.call(rootKey, "PUT", target, "").Header().Get("Allow"); got != want {
			t.Errorf("PUT %s: got Allow %q, want %q", target, got, want)
		}
	}
}

func TestValidationEchoesNoValue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const secret = "sEcReT/tOo+lOnG"
	for name, tc := range map[string]struct{ method, target, body, header string }{
		"password too long":      {"POST", "/api/containers/start", `{"s3Bucket":"workspace","vncPassword":"` + secret + `"}`, ""},
		"secret as an object":    {"POST", "/api/containers/start", `{"s3Bucket":"workspace","awsSecretAccessKey":{"is":"` + secret + `"}}`, ""},
		"secret in a list":       {"POST", "/api/containers/start", `{"s3Bucket":"workspace","vncPassword":["` + secret + `"]}`, ""},
		"secret as a bucket":     {"POST", "/api/containers/start", `{"s3Bucket":"` + secret + `"}`, ""},
		"secret as an image":     {"POST", "/api/containers/start", `{"s3Bucket":"workspace","image":"` + secret + `"}`, ""},
		"secret as a label":      {"POST", "/api/containers/start", `{"s3Bucket":"workspace","labels":{"a b":"` + secret + `"}}`, ""},
		"secret as memory":       {"POST", "/api/containers/start", `{"s3Bucket":"workspace","resources":{"memoryLimit":"` + secret + `"}}`, ""},
		"secret in broken JSON":  {"POST", "/api/containers/start", `{"s3Bucket":"workspace","vncPassword":"` + secret + `"`, ""},
		"value of unknown field": {"POST", "/api/containers/start", `{"s3Bucket":"workspace","password":"` + secret + `"}`, ""},
		"value of unknown query": {"GET", "/api/containers?password=" + secret, "", ""},
		"secret as a status":     {"GET", "/api/containers?status=" + secret, "", ""},
		"secret as a number":     {"GET", "/api/containers?limit=" + secret, "", ""},
		"header too long":        {"POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, secret + strings.Repeat("x", 256)},
	} {
		w := b.call(aliceKey, tc.method, tc.target, tc.body, "Idempotency-Key", tc.header)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: got %d %s, want 400", name, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), secret) || strings.Contains(b.log.String(), secret) {
			t.Errorf("%s: the value comes back in %s or the log", name, w.Body)
		}
	}
}

func TestPanicIsA500(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := New(&functions.Deps{Log: slog.New(slog.NewJSONHandler(&log, nil))}, Config{Keys: []Key{{"root", ide.Admin, rootKey}}}) // no store
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/containers", nil)
	r.Header.Set("Authorization", "Bearer "+rootKey)
	r.Header.Set("X-Request-ID", "find-me")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b := &bench{T: t}
	e := b.refused(w, http.StatusInternalServerError, ide.Internal, "/api/containers")
	if strings.Contains(w.Body.String(), "nil pointer") || !strings.Contains(e.Message, "request ID") {
		t.Errorf("got %q, want a general sentence", e.Message)
	}
	if !strings.Contains(log.String(), "panic in a handler") || !strings.Contains(log.String(), "nil pointer") || !strings.Contains(log.String(), "find-me") {
		t.Errorf("the log does not tell of it: %s", log.String())
	}
}

func TestAbortedHandlerStaysAborted(t *testing.T) {
	t.Parallel()
	s := &server{log: slog.New(slog.DiscardHandler)}
	h := s.recover(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("got %v, want the server to see it", got)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
}

func TestStrangersErrorIsHidden(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.create(alice, "alice-1").Container.ID
	if err := b.rdb.HSet(t.Context(), "{berth}:c:"+id, "doc", "{torn").Err(); err != nil {
		t.Fatal(err)
	}
	w := b.call(aliceKey, "GET", "/api/containers/"+id, "", "X-Request-ID", "find-me")
	b.refused(w, http.StatusInternalServerError, ide.Internal, "/api/containers/"+id)
	if strings.Contains(w.Body.String(), "invalid character") {
		t.Errorf("a stranger's words reach a client: %s", w.Body)
	}
	if log := b.log.String(); !strings.Contains(log, "invalid character") || !strings.Contains(log, `"request":"find-me"`) {
		t.Errorf("the log does not say why: %s", log)
	}
}

func TestRedisGone(t *testing.T) {
	t.Parallel()
	b := benchWithoutRedis(t)
	for _, tc := range []struct{ method, target, body string }{
		{"GET", "/api/containers", ""},
		{"GET", "/api/containers/k3xqh5zt2mwfa", ""},
		{"GET", "/api/containers/k3xqh5zt2mwfa/events", ""},
		{"GET", "/api/containers/k3xqh5zt2mwfa/credentials", ""},
		{"GET", "/api/containers/k3xqh5zt2mwfa/logs", ""},
		{"GET", "/api/dashboard/logs", ""},
		{"GET", "/api/jobs", ""},
		{"GET", "/api/jobs/container-create:k3xqh5zt2mwfa:1?wait=1", ""},
		{"DELETE", "/api/jobs/container-create:k3xqh5zt2mwfa:1", ""},
		{"POST", "/api/containers/start", `{"s3Bucket":"workspace"}`},
		{"DELETE", "/api/containers/k3xqh5zt2mwfa", ""},
		{"GET", "/readyz", ""},
	} {
		w := b.call(rootKey, tc.method, tc.target, tc.body)
		path, _, _ := strings.Cut(tc.target, "?")
		b.refused(w, http.StatusServiceUnavailable, ide.QueueUnavailable, path)
		if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "dial") {
			t.Errorf("%s %s: got Retry-After %q, %s", tc.method, tc.target, w.Header().Get("Retry-After"), w.Body)
		}
	}
	if w := b.call(rootKey, "GET", "/livez", ""); w.Code != http.StatusNoContent {
		t.Errorf("livez: got %d; the process lives", w.Code)
	}
	if w := b.call("", "GET", "/dashboard", ""); w.Code == http.StatusServiceUnavailable {
		t.Error("the page needs no Redis: it says itself that there is none")
	}
	b.refused(b.call(rootKey, "GET", "/dashboard/queues/api/queues", ""), http.StatusServiceUnavailable, ide.QueueUnavailable, "/dashboard/queues/api/queues")
	var h SystemHealth
	b.read(b.call("", "GET", "/api/health", ""), http.StatusServiceUnavailable, &h)
	want := map[string]Check{"redis": {Message: "Redis does not answer."}, "swarm": {Message: "Redis does not answer."}, "workers": {Message: "Redis does not answer."}}
	if diff := cmp.Diff(want, h.Checks); diff != "" || h.Status != "degraded" {
		t.Errorf("health is %s (-want +got):\n%s", h.Status, diff)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, tc := range map[string]struct {
		sent string
		kept bool
	}{
		"sane":         {"Req_1.a-b", true},
		"longest":      {strings.Repeat("a", 64), true},
		"none":         {"", false},
		"too long":     {strings.Repeat("a", 65), false},
		"a blank":      {"a b", false},
		"a line break": {"a\r\nSet-Cookie: x", false},
		"markup":       {"<script>", false},
	} {
		for _, target := range []string{"/livez", "/api/containers", "/api/nothing"} {
			got := b.call(rootKey, "GET", target, "", "X-Request-ID", tc.sent).Header().Get("X-Request-ID")
			if (got == tc.sent) != tc.kept || !sane.MatchString(got) {
				t.Errorf("%s, %s: got %q for %q", name, target, got, tc.sent)
			}
		}
	}
}

func TestOtherOriginsChangeNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	post := func(headers ...string) *httptest.ResponseRecorder {
		return b.call(aliceKey, "POST", "/api/containers/start", `{"s3Bucket":"workspace"}`, headers...)
	}
	for name, headers := range map[string][]string{
		"cross-site":          {"Sec-Fetch-Site", "cross-site"},
		"same site, not ours": {"Sec-Fetch-Site", "same-site", "Origin", "http://k3xqh5zt2mwfa-web.berth.test"},
		"another origin":      {"Origin", "https://evil.test"},
		"no origin":           {"Origin", "null"},
	} {
		b.refused(post(headers...), http.StatusForbidden, ide.Forbidden, "/api/containers/start")
		if w := b.call(aliceKey, "GET", "/api/containers", "", headers...); w.Code != http.StatusOK {
			t.Errorf("%s: got %d for a read", name, w.Code)
		}
	}
	for name, headers := range map[string][]string{
		"no browser":  nil,
		"our page":    {"Sec-Fetch-Site", "same-origin", "Origin", "http://berth.test"},
		"address bar": {"Sec-Fetch-Site", "none"},
		"old browser": {"Origin", "http://berth.test"},
	} {
		if w := post(headers...); w.Code != http.StatusAccepted {
			t.Errorf("%s: got %d %s, want 202", name, w.Code, w.Body)
		}
	}
}

func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	for code, want := range statuses {
		e := envelope(&ide.Error{Code: code, Message: "m"}, "/p")
		if e.GetStatus() != want || e.Err.Code != code || e.Err.Message != "m" {
			t.Errorf("%s: got %d %+v, want %d", code, e.GetStatus(), e.Err, want)
		}
	}
	for _, code := range []ide.Code{ide.Internal, ide.Timeout, ide.ContainerStopFailed, "NEW"} {
		if e := envelope(&ide.Error{Code: code, Message: "inner words"}, "/p"); e.GetStatus() != 500 || e.Err.Code != ide.Internal || strings.Contains(e.Err.Message, "inner") {
			t.Errorf("%s: got %d %+v, want a general 500", code, e.GetStatus(), e.Err)
		}
	}
}

func TestHumasOwnErrors(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		status int
		code   ide.Code
	}{
		400: {400, ide.ValidationFailed}, 422: {400, ide.ValidationFailed}, 413: {413, ide.BodyTooLarge}, 415: {415, ide.UnsupportedMediaType},
		406: {400, ide.ValidationFailed}, 408: {400, ide.ValidationFailed}, 500: {500, ide.Internal}, 418: {500, ide.Internal},
	} {
		e := newError(status, "words of Huma's", errors.New("a stranger's"))
		text, err := json.Marshal(e)
		if err != nil || e.GetStatus() != want.status || !strings.Contains(string(text), string(want.code)) || strings.Contains(string(text), "stranger") {
			t.Errorf("%d: got %d %s, %v, want %d %s", status, e.GetStatus(), text, err, want.status, want.code)
		}
	}
	e := newError(500, "", ide.Transient(ide.Docker, errors.New("a stranger's"), "The engine is away."))
	if e.GetStatus() != 502 || !strings.Contains(e.Error(), "The engine is away") {
		t.Errorf("got %d %v, want ours as it is", e.GetStatus(), e)
	}
}
