package s3

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

const (
	operatorKey    = "OPERATORKEY"
	operatorSecret = "operator-secret-operator-secret"
)

// sts is a Security Token Service: it mints, or says what it is told to.
type sts struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []url.Values
	signed []string // Authorization headers
	life   time.Duration
	refuse func(w http.ResponseWriter) bool
}

func newSTS(t *testing.T) *sts {
	s := &sts{life: time.Hour}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		s.asked, s.signed = append(s.asked, r.Form), append(s.signed, r.Header.Get("Authorization"))
		if s.refuse != nil && s.refuse(w) {
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>MINTED%d</AccessKeyId><SecretAccessKey>minted-secret</SecretAccessKey><SessionToken>minted-token</SessionToken>
<Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`, len(s.asked), time.Now().Add(s.life).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sts) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{RoleARN: "arn:aws:iam::123456789012:role/berth", STSEndpoint: s.URL, AccessKey: operatorKey, SecretKey: operatorSecret, SessionTime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func withRole(id, prefix string) ide.Container {
	return ide.Container{ID: id, Credential: Role, S3: ide.Bucket{Name: "workspaces", Region: "eu-central-1", Prefix: prefix}}
}

func TestMintedCredentialsReachOnePrefixOnly(t *testing.T) {
	t.Parallel()
	s := newSTS(t)
	c := s.client(t)
	got, err := c.Credentials(t.Context(), withRole("k3xqh5zt2mwfa", "course-1/alice/"), ide.Secrets{})
	if err != nil || got.AccessKey != "MINTED1" || got.Token != "minted-token" || time.Until(got.Until) < 50*time.Minute {
		t.Fatalf("credentials %+v, %v", got, err)
	}
	form := s.asked[0]
	for name, want := range map[string]string{
		"Action": "AssumeRole", "RoleArn": "arn:aws:iam::123456789012:role/berth", "RoleSessionName": "berth-k3xqh5zt2mwfa", "DurationSeconds": "3600",
	} {
		if form.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, form.Get(name), want)
		}
	}
	if !strings.Contains(s.signed[0], "Credential="+operatorKey+"/") || !strings.Contains(s.signed[0], "/eu-central-1/sts/") {
		t.Errorf("signed %q", s.signed[0])
	}
	var policy struct{ Statement []statement }
	if err := json.Unmarshal([]byte(form.Get("Policy")), &policy); err != nil {
		t.Fatal(err)
	}
	want := []statement{
		{"Allow", []string{"s3:ListBucket", "s3:GetBucketLocation"}, []string{"arn:aws:s3:::workspaces"},
			map[string]any{"StringLike": map[string]any{"s3:prefix": []any{"course-1/alice/*"}}}},
		{"Allow", []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"},
			[]string{"arn:aws:s3:::workspaces/course-1/alice/*"}, nil},
	}
	if diff := cmp.Diff(want, policy.Statement); diff != "" {
		t.Errorf("session policy (-want +got):\n%s", diff)
	}
	// A prefix with a wildcard would reach others'.
	for _, prefix := range []string{"a*", "a?b", "${aws:username}"} {
		if _, err := c.Credentials(t.Context(), withRole("x", prefix), ide.Secrets{}); !ide.HasCode(err, ide.ValidationFailed) {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}

func TestCredentialsAreMintedAnewAtHalfTheirTime(t *testing.T) {
	t.Parallel()
	s := newSTS(t)
	c := s.client(t)
	mint := func(id string) string {
		t.Helper()
		got, err := c.Credentials(t.Context(), withRole(id, "p"), ide.Secrets{})
		if err != nil {
			t.Fatal(err)
		}
		return got.AccessKey
	}
	if a, b := mint("a"), mint("a"); a != b {
		t.Errorf("fresh credentials were minted again: %s, %s", a, b)
	}
	if mint("b") == mint("a") {
		t.Error("two containers have the same credentials")
	}
	s.life = 20 * time.Minute // less than half an hour
	if a, b := mint("c"), mint("c"); a == b {
		t.Errorf("credentials in the second half of their time were kept: %s", a)
	}
	// A request's own are never replaced.
	own := ide.Container{ID: "own", Credential: Own, S3: ide.Bucket{Name: "workspaces"}}
	got, err := c.Credentials(t.Context(), own, ide.Secrets{AWSAccessKeyID: "k", AWSSecretAccessKey: "s"})
	if diff := cmp.Diff(ide.S3Credentials{AccessKey: "k", SecretKey: "s"}, got); diff != "" || err != nil {
		t.Errorf("own credentials, %v (-want +got):\n%s", err, diff)
	}
}

func TestWhyNothingIsMinted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status    int
		body      string
		code      ide.Code
		permanent bool
	}{
		"may not assume": {403, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>operator-secret-operator-secret</Message></Error></ErrorResponse>`, ide.InvalidS3Bucket, true},
		"throttled":      {400, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>`, ide.InvalidS3Bucket, false},
		"its own fault":  {500, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Receiver</Type><Code>InternalFailure</Code></Error></ErrorResponse>`, ide.InvalidS3Bucket, false},
	} {
		s := newSTS(t)
		s.refuse = func(w http.ResponseWriter) bool {
			w.WriteHeader(tc.status)
			fmt.Fprint(w, tc.body)
			return true
		}
		_, err := s.client(t).Credentials(t.Context(), withRole("a", "p"), ide.Secrets{})
		if !ide.HasCode(err, tc.code) || ide.IsPermanent(err) != tc.permanent || strings.Contains(ide.AsError(err).Message+err.Error(), operatorSecret) {
			t.Errorf("%s: %v, permanent %t", name, err, ide.IsPermanent(err))
		}
	}
	s := newSTS(t)
	c := s.client(t)
	s.Close()
	if _, err := c.Credentials(t.Context(), withRole("a", "p"), ide.Secrets{}); !ide.HasCode(err, ide.S3Unavailable) || ide.IsPermanent(err) {
		t.Errorf("nobody there: %v", err)
	}
}

// What a container is told of its place names none of the operator's keys.
func TestPlaceHasNoKeys(t *testing.T) {
	t.Parallel()
	c := newSTS(t).client(t)
	text, err := json.Marshal(c.Place(withRole("a", "p")))
	if err != nil || strings.Contains(string(text), operatorKey) || strings.Contains(string(text), operatorSecret) || !strings.Contains(string(text), `"role":true`) {
		t.Errorf("place %s, %v", text, err)
	}
	if c.Place(ide.Container{NoAgent: true}) != nil {
		t.Error("a place for an image without an agent")
	}
	var none *Client
	if !none.Off() || none.HasRole() || none.SingleWriter() || none.Place(withRole("a", "p")) != nil {
		t.Error("no client keeps something")
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"role without keys":  {RoleARN: "arn:aws:iam::1:role/r"},
		"keys without role":  {AccessKey: "k", SecretKey: "s"},
		"endpoint no URL":    {Endpoint: "minio:9000"},
		"unknown encryption": {Encryption: "rot13"},
		"CA no certificate":  {CA: "no PEM"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(Config{Off: true}); err != nil {
		t.Errorf("off: %v", err)
	}
}
