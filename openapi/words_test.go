package openapi

import (
	"net/http"
	"strings"
	"testing"

	"berth/internal/ide"
)

// Whatever is wrong with a request, the answer says what it must be, and the
// limit.
func TestRefusalsSayWhatMustBe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, tc := range []struct{ method, target, body, want string }{
		{"GET", "/api/containers?limit=201", "", "query.limit: must be at most 200"},
		{"GET", "/api/containers?limit=x", "", "query.limit: must be a whole number"},
		{"GET", "/api/containers?size=1", "", "query.size: must not be there"},
		{"GET", "/api/containers?q=%zz", "", "query: must be pairs"},
		{"GET", "/api/containers?q=a;b", "", "query: must be pairs"},
		{"GET", "/api/containers?q=a&q=b", "", "query.q: must be given once"},
		{"DELETE", "/api/containers/k3xqh5zt2mwfa?purge=false&purge=true", "", "query.purge: must be given once"},
		{"GET", "/api/containers?status=gone", "", "must be one of"},
		{"POST", "/api/containers/start", `{}`, "must have the field s3Bucket"},
		{"POST", "/api/containers/start", `{"s3Bucket":"bucket","vncPassword":"123456789"}`, "must have at most 8 characters"},
		{"POST", "/api/containers/start", `{"s3Bucket":"bucket","idleTimeout":-1}`, "must be at least 0"},
		{"POST", "/api/containers/start", `{"s3Bucket":"bucket","bucket":1}`, "must not be there"},
		{"POST", "/api/containers/start", `{"s3Bucket":7}`, "must be a string"},
		{"POST", "/api/webhooks", `{"url":"https://user:secret@example.com/"}`, "url must not have a user name or password"},
	} {
		e := b.refused(b.call(aliceKey, tc.method, tc.target, tc.body), http.StatusBadRequest, ide.ValidationFailed, strings.Split(tc.target, "?")[0])
		if !strings.Contains(e.Message, tc.want) {
			t.Errorf("%s %s: got %q, want %q", tc.target, tc.body, e.Message, tc.want)
		}
	}
}

// Schemes of Authorization are written as one likes.
func TestBearerInAnyCase(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for header, code := range map[string]int{
		"Bearer " + aliceKey: http.StatusOK, "bearer " + aliceKey: http.StatusOK, "BEARER  " + aliceKey: http.StatusOK,
		"Basic " + aliceKey: http.StatusUnauthorized, "Bearer" + aliceKey: http.StatusUnauthorized, aliceKey: http.StatusUnauthorized,
	} {
		if w := b.call("", "GET", "/api/containers", "", "Authorization", header); w.Code != code {
			t.Errorf("%.8s…: got %d, want %d", header, w.Code, code)
		}
	}
}
