package openapi

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/google/go-cmp/cmp"
)

var filterAll = store.Filter{Limit: 200}

// basic is what a browser sends for a key.
func basic(key string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+key))
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 32)
	for name, tc := range map[string]struct {
		one, several string
		want         []Key
		err          string
	}{
		"one":                  {one: long, want: []Key{{"admin", ide.Admin, long}}},
		"several":              {several: "a:client:" + long + ", b.c-d_1:viewer:" + long + ",", want: []Key{{"a", ide.Client, long}, {"b.c-d_1", ide.Viewer, long}}},
		"both":                 {one: long, several: "root:admin:" + long, want: []Key{{"admin", ide.Admin, long}, {"root", ide.Admin, long}}},
		"key with colons":      {several: "a:client:" + long + ":x:y", want: []Key{{"a", ide.Client, long + ":x:y"}}},
		"none":                 {err: "no API key"},
		"only commas":          {several: " , ", err: "no API key"},
		"one too short":        {one: long[1:], err: `"admin" has 31 characters`},
		"several, one short":   {several: "a:client:" + long + ",b:client:short", err: `"b" has 5 characters`},
		"no role":              {several: "a:" + long, err: "entry 1 of API_KEYS"},
		"unknown role":         {several: "a:owner:" + long, err: `the role "owner"`},
		"empty role":           {several: "a::" + long, err: `the role ""`},
		"no name":              {several: ":client:" + long, err: "is no name"},
		"name with a blank":    {several: "a b:client:" + long, err: "is no name"},
		"name with a capital":  {several: "Alice:client:" + long, err: "is no name"},
		"name ends in a dot":   {several: "alice.:client:" + long, err: "is no name"},
		"name of 64":           {several: strings.Repeat("n", 64) + ":client:" + long, err: "is no name"},
		"twice":                {several: "a:client:" + long + ",a:viewer:" + long, err: `two API keys named "a"`},
		"admin is taken twice": {one: long, several: "admin:admin:" + long, err: `two API keys named "admin"`},
	} {
		got, err := ParseKeys(tc.one, tc.several)
		if tc.err == "" {
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), long[1:]) {
			t.Errorf("%s: got %v, want %q without the key", name, err, tc.err)
		}
	}
}

func TestWhoGetsIn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, tc := range map[string]struct {
		target  string
		headers []string
		status  int
	}{
		"bearer":                         {"/api/containers", []string{"Authorization", "Bearer " + aliceKey}, 200},
		"X-API-Key":                      {"/api/containers", []string{"X-API-Key", aliceKey}, 200},
		"Basic":                          {"/api/containers", []string{"Authorization", basic(aliceKey)}, 401},
		"no key":                         {"/api/containers", nil, 401},
		"wrong key":                      {"/api/containers", []string{"Authorization", "Bearer " + strings.ToUpper(aliceKey)}, 401},
		"part of a key":                  {"/api/containers", []string{"Authorization", "Bearer " + aliceKey[:32]}, 401},
		"empty bearer":                   {"/api/containers", []string{"Authorization", "Bearer "}, 401},
		"key in the address":             {"/api/containers?key=" + aliceKey, nil, 401},
		"queues without a key":           {"/dashboard/queues", nil, 401},
		"queues with an admin's":         {"/dashboard/queues", []string{"Authorization", "Bearer " + rootKey}, 200},
		"queues with a client's":         {"/dashboard/queues", []string{"Authorization", "Bearer " + aliceKey}, 403},
		"queues with a viewer's":         {"/dashboard/queues", []string{"Authorization", "Bearer " + viewKey}, 403},
		"what queues load, without one":  {"/dashboard/queues/static/js/main.5adda2da.chunk.js", nil, 401},
		"a path like the dashboard's":    {"/dashboards", nil, 401},
		"health needs none":              {"/livez", nil, 204},
		"readiness needs none":           {"/readyz", nil, 204},
		"the document needs none":        {"/openapi.json", nil, 200},
		"... in YAML":                    {"/openapi.yaml", nil, 200},
		"the root leads to a page":       {"/", nil, 302},
		"a path like a public one":       {"/livez/../api/containers", nil, 401},
		"a public path's child needs it": {"/api/health/x", nil, 401},
	} {
		if w := b.call("", "GET", tc.target, "", tc.headers...); w.Code != tc.status {
			t.Errorf("%s: got %d, want %d", name, w.Code, tc.status)
		}
	}
	none, wrong := b.call("", "GET", "/api/jobs", ""), b.call(strings.Repeat("x", 40), "GET", "/api/jobs", "")
	if n, w := b.refused(none, 401, ide.AuthenticationFailed, "/api/jobs"), b.refused(wrong, 401, ide.AuthenticationFailed, "/api/jobs"); !cmp.Equal(n, w) {
		t.Errorf("no key and a wrong key are told apart: %+v, %+v", n, w)
	}
	if got := none.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
		t.Errorf("got challenge %q", got)
	}
	w := b.call("", "GET", "/dashboard/queues/q/default", "", "Accept", "text/html,*/*")
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/dashboard/login?next=%2Fdashboard%2Fqueues%2Fq%2Fdefault" {
		t.Errorf("a browser is sent with %d to %q, want the place to sign in", w.Code, to)
	}
}

func TestAccessLogHasNoSecret(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const secret = "hunter2+hunter2/hunter2"
	id := b.create(alice, "alice-1").Container.ID
	b.call(aliceKey, "POST", "/api/containers/start", `{"s3Bucket":"workspace","vncPassword":"secre+8!","awsAccessKeyId":"AKIA","awsSecretAccessKey":"`+secret+`"}`,
		"Idempotency-Key", "idem-"+secret, "X-Request-ID", "start-1")
	b.call("", "GET", "/api/containers?token="+secret, "", "X-API-Key", aliceKey)
	b.call("", "GET", "/dashboard/queues", "", "Authorization", basic(aliceKey))
	b.call("wrong-"+secret+secret, "GET", "/api/jobs", "", "Cookie", "session="+secret)
	w := b.call(aliceKey, "GET", "/api/containers/"+id+"/credentials", "")
	if !strings.Contains(w.Body.String(), "hunter22") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("credentials: got %d %s, %v", w.Code, w.Body, w.Header())
	}
	log := b.log.String()
	for _, s := range []string{secret, "secre+8!", "hunter22", aliceKey, basic(aliceKey)[6:]} {
		if strings.Contains(log, s) {
			t.Errorf("%q stands in the log:\n%s", s, log)
		}
	}
	for _, line := range []string{`"path":"/api/containers/start","status":202`, `"request":"start-1"`, `"path":"/api/jobs","status":401`, `"path":"/dashboard/queues","status":401`} {
		if !strings.Contains(log, line) {
			t.Errorf("the log lacks %s:\n%s", line, log)
		}
	}
	before := len(log)
	b.call("", "GET", "/livez", "")
	if after := b.log.String(); len(after) != before {
		t.Errorf("a load balancer's probe is logged: %s", after[before:])
	}
	if w := b.call("", http.MethodGet, "/livez", ""); w.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("got %v", w.Header())
	}
}

// FuzzParseKeys: whatever API_KEYS says, the keys that come of it are safe to
// use, and no error shows a key.
func FuzzParseKeys(f *testing.F) {
	long := strings.Repeat("k", MinKey)
	for _, s := range [][2]string{{"", ""}, {long, ""}, {"", "a:client:" + long}, {"", "a:client:" + long + ",b:viewer:" + long + ","}, {long, "admin:admin:" + long},
		{"", "::" + long}, {"", ",,,"}, {"short", "a:client"}, {"", "a:client:" + long + ":x"}, {"", "a:owner:\x00"}, {"", " a:client:" + long + "\n"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, one, several string) {
		keys, err := ParseKeys(one, several)
		if err != nil {
			if len(keys) != 0 {
				t.Errorf("got %d keys with %v", len(keys), err)
			}
			if len(one) >= 8 && !strings.Contains(`admin" has characters, at least are needed`, one) && strings.Contains(err.Error(), one) && !strings.Contains(several, one) {
				t.Errorf("%v shows a key", err)
			}
			return
		}
		names := map[string]bool{}
		for _, k := range keys {
			if len(k.Secret) < MinKey || !keyName.MatchString(k.Name) || names[k.Name] || k.Role != ide.Admin && k.Role != ide.Client && k.Role != ide.Viewer {
				t.Errorf("got a key %q with the role %q and %d characters", k.Name, k.Role, len(k.Secret))
			}
			names[k.Name] = true
			if p, ok := newKeyring(keys).find(k.Secret); !ok || p.Role == "" {
				t.Errorf("key %q does not open anything", k.Name)
			}
		}
		if len(keys) == 0 {
			t.Error("no key and no error")
		}
	})
}
