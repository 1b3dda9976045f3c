package functions

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/leaktest"
	"berth/internal/s3"
)

// The operator's own keys, which may assume the role.
const (
	operatorKey    = "AKIAOPERATOR7EXAMPLE"
	operatorSecret = `op"er/ator+K7MDENG<&bPxRfiCYEXAMPLE`
	mintedSecret   = `mint/ed+"K7MDENG<&RfiCYEXAMPLE`
)

// sts is a Security Token Service.
type sts struct {
	*httptest.Server

	mu     sync.Mutex
	minted int
	signed string // the last request's Authorization
	refuse bool   // with a message that names the operator's keys
}

// withRole gives a bench a store whose credentials are minted for less than
// half of a session, so that each use needs new ones.
func (b *bench) withRole() *sts {
	b.Helper()
	s := &sts{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.signed = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "text/xml")
		if s.refuse {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>`)
			_ = xml.EscapeText(w, []byte(operatorKey+" "+operatorSecret))
			fmt.Fprint(w, `</Message></Error></ErrorResponse>`)
			return
		}
		s.minted++
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>MINTED%03d</AccessKeyId><SecretAccessKey>`, s.minted)
		_ = xml.EscapeText(w, []byte(mintedSecret))
		fmt.Fprintf(w, `</SecretAccessKey><SessionToken>token</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
			time.Now().Add(20*time.Minute).UTC().Format(time.RFC3339))
	}))
	b.Cleanup(s.Close)
	var err error
	b.S3, err = s3.New(s3.Config{Endpoint: b.memoryStore(), PathStyle: true, RoleARN: "arn:aws:iam::123456789012:role/berth", STSEndpoint: s.URL,
		AccessKey: operatorKey, SecretKey: operatorSecret, SessionTime: time.Hour})
	b.must(err)
	return s
}

// createMinted returns a running container that has no credentials of its own.
func (b *bench) createMinted(bucket string) ide.Container {
	b.Helper()
	out := b.create(CreateContainerRequest{S3Bucket: bucket})
	return b.kept(b.container(out.Container.ID))
}

func TestCredentialsAreRenewed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withRole()
	b.inside.say("agent", restoredAgent(""))
	for i := range 3 {
		b.createMinted(fmt.Sprint("workspace-", i))
	}
	all, err := b.Store.ByStatus(t.Context(), ide.Running)
	b.must(err)
	first := map[string]ide.S3Credentials{}
	for _, c := range all {
		got := b.inside.lastCredentials(c.Address)
		if first[c.Address] = got; got.SecretKey != mintedSecret || got.Token != "token" || time.Until(got.Until) <= 0 {
			t.Fatalf("at its start a container was handed %+v", got)
		}
	}

	// The agent that is asked first says nothing until the others are done.
	silent, others := all[0], all[1:]
	ended, abandoned := make(chan struct{}), make(chan struct{})
	end := sync.OnceFunc(func() { close(ended) })
	t.Cleanup(end)
	b.inside.answerCredentials(func(ctx context.Context, address string) int {
		if address != silent.Address {
			return http.StatusNoContent
		}
		select {
		case <-ended:
		case <-ctx.Done():
			close(abandoned)
		}
		return http.StatusServiceUnavailable
	})
	sweep, err := RunSchedule(t.Context(), b.Deps, admin, "credentials-sweep")
	b.must(err)
	done := make(chan struct{})
	go func() { defer close(done); b.execute(sweep.ID, ide.JobSucceeded) }()
	renewed := func(c ide.Container) bool {
		return b.inside.lastCredentials(c.Address).AccessKey > first[c.Address].AccessKey
	}
	for _, c := range others {
		until(t, "an agent is handed new credentials while another is silent", func() bool { return renewed(c) })
	}
	end()
	<-done
	select {
	case <-abandoned:
		t.Error("the silent agent was given up before the others had their credentials")
	default:
	}
	if renewed(silent) {
		t.Error("the agent that took nothing has new credentials")
	}
	result, err := json.Marshal(b.job(sweep.ID).Result)
	if string(result) != `{"failed":1,"renewed":2}` || err != nil {
		t.Errorf("the sweep's result is %s, %v", result, err)
	}

	b.inside.answerCredentials(nil)
	again, err := RunSchedule(t.Context(), b.Deps, admin, "credentials-sweep")
	b.must(err)
	b.execute(again.ID, ide.JobSucceeded)
	if !renewed(silent) {
		t.Error("an agent that answers again is handed no credentials")
	}
}

func TestOperatorsKeysLeaveNoTrace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.withRole()
	b.inside.say("agent", restoredAgent(""))
	seen := places{}
	c := b.createMinted("workspace")
	seen.look(b, "running")
	if !strings.Contains(s.signed, "Credential="+operatorKey+"/") {
		t.Fatalf("the operator's keys were not used: %q", s.signed)
	}
	sweep, err := RunSchedule(t.Context(), b.Deps, admin, "credentials-sweep")
	b.must(err)
	b.execute(sweep.ID, ide.JobSucceeded)
	seen.look(b, "renewed")
	s.mu.Lock()
	s.refuse = true
	s.mu.Unlock()
	refused, err := RunSchedule(t.Context(), b.Deps, admin, "credentials-sweep")
	b.must(err)
	b.execute(refused.ID, ide.JobSucceeded)
	failing := b.create(CreateContainerRequest{S3Bucket: "another"})
	b.execute(failing.Job.ID, ide.JobFailed)
	seen.look(b, "refused")
	b.execute(b.stop(StopContainerArgs{ID: c.ID, Force: true}).Job.ID, ide.JobSucceeded)
	seen.look(b, "stopped")

	told, err := json.Marshal(b.job(failing.Job.ID))
	b.must(err)
	seen["the failed job"], seen["the log"] = string(told), b.log.String()
	if !strings.Contains(seen["the log"], "credentials are not renewed") {
		t.Error("the log does not say that credentials are not renewed")
	}
	// what is minted goes to the agent's port and nowhere else
	seen.wantNone(t, map[string]string{"operator's secret": operatorSecret, "operator's key ID": operatorKey, "minted secret": mintedSecret})

	b.inside.mu.Lock()
	defer b.inside.mu.Unlock()
	handed, err := json.Marshal(b.inside.credentials)
	b.must(err)
	inside := places{"what agents were handed": string(handed), "Swarm secrets": strings.Join(b.inside.given, "\n")}
	inside.wantNone(t, map[string]string{"operator's secret": operatorSecret, "operator's key ID": operatorKey})
	if leaktest.Find(string(handed), mintedSecret) == "" || len(b.inside.given) == 0 || len(seen) < 60 {
		t.Errorf("looked at %d places, %d Swarm secrets, %s", len(seen), len(b.inside.given), handed)
	}
}
