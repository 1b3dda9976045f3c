package openapi

import (
	"net/http"
	"strings"
	"testing"

	"berth/internal/ide"
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
	all, err := st.Keys(t.Context())
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
