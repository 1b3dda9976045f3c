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
		"Basic on the dashboard":         {"/dashboard", []string{"Authorization", basic(aliceKey)}, 200},
		"Basic elsewhere":                {"/api/containers", []string{"Authorization", basic(aliceKey)}, 401},
		"no key":                         {"/api/containers", nil, 401},
		"wrong key":                      {"/api/containers", []string{"Authorization", "Bearer " + strings.ToUpper(aliceKey)}, 401},
		"part of a key":                  {"/api/containers", []string{"Authorization", "Bearer " + aliceKey[:32]}, 401},
		"empty bearer":                   {"/api/containers", []string{"Authorization", "Bearer "}, 401},
		"key in the address":             {"/api/containers?key=" + aliceKey, nil, 401},
		"dashboard without a key":        {"/dashboard", nil, 401},
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
	if got := b.call("", "GET", "/dashboard", "").Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic") {
		t.Errorf("a browser gets the challenge %q", got)
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
	b.call("", "GET", "/dashboard", "", "Authorization", basic(aliceKey))
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
	for _, line := range []string{`"path":"/api/containers/start","status":202`, `"request":"start-1"`, `"path":"/api/jobs","status":401`, `"path":"/dashboard","status":200`} {
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
