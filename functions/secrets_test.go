package functions

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// forms returns how a secret shows in texts: as it is, in base64 at each of
// the three offsets, hexadecimal, escaped for URLs and JSON.
func forms(secret string) map[string]string {
	all := map[string]string{
		"raw": secret, "hex": hex.EncodeToString([]byte(secret)), "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
	}
	for level, text := 1, []string{secret}; level <= 2; level++ {
		var quoted []string
		for _, s := range text {
			quoted = append(quoted, quote(s, false), quote(s, true))
		}
		for i, s := range quoted {
			all[fmt.Sprintf("JSON of level %d (%d)", level, i)] = s
		}
		text = quoted
	}
	for offset := range 3 {
		// the characters at the ends also depend on what stands beside it
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + secret))
		text = text[(offset*8+5)/6 : (offset+len(secret))*8/6]
		all[fmt.Sprintf("base64 at %d", offset)] = text
		all[fmt.Sprintf("URL base64 at %d", offset)] = strings.NewReplacer("+", "-", "/", "_").Replace(text)
	}
	return all
}

// quote escapes a text as JSON has it between its quotes.
func quote(s string, html bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	_ = enc.Encode(s) // a string
	return strings.Trim(strings.TrimSpace(b.String()), `"`)
}

// leak names the form in which a secret stands in a text, or is empty.
func leak(text, secret string) string {
	for name, form := range forms(secret) {
		if strings.Contains(text, form) {
			return name
		}
	}
	return ""
}

func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	const secret = `p"w/ü&+<`
	quoted, err := json.Marshal(map[string]string{"k": `{"vnc":` + fmt.Sprintf("%q", secret) + `}`})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"raw": "x" + secret + "y", "JSON in JSON": string(quoted), "query": url.Values{"k": {secret}}.Encode(),
		"base64": base64.StdEncoding.EncodeToString([]byte(`{"vnc":"` + secret + `","n":1}`)),
		"offset": base64.RawURLEncoding.EncodeToString([]byte(`..` + secret)), "hex": hex.EncodeToString([]byte("--" + secret + "--")),
	} {
		if leak(text, secret) == "" {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
	if form := leak(`nothing "of" the/kind <here>`, secret); form != "" {
		t.Errorf("found as %s where it is not", form)
	}
}

// dump returns all that Redis holds, keys and values.
func (b *bench) dump() map[string]string {
	b.Helper()
	ctx := b.Context()
	all := map[string]string{}
	for _, k := range b.rdb.Keys(ctx, "*").Val() {
		var cmd redis.Cmder
		switch kind := b.rdb.Type(ctx, k).Val(); kind {
		case "string":
			cmd = b.rdb.Get(ctx, k)
		case "list":
			cmd = b.rdb.LRange(ctx, k, 0, -1)
		case "set":
			cmd = b.rdb.SMembers(ctx, k)
		case "hash":
			cmd = b.rdb.HGetAll(ctx, k)
		case "zset":
			cmd = b.rdb.ZRange(ctx, k, 0, -1)
		case "stream":
			cmd = b.rdb.XRange(ctx, k, "-", "+")
		default:
			b.Fatalf("%s is a %s", k, kind)
		}
		b.must(cmd.Err())
		all["redis "+k] = k + " " + cmd.String()
	}
	return all
}

func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	planted := map[string]string{"VNC password": `p"w/ü&+`, "AWS secret": `wJalrX/K7MDENG+bPx"<RfiC&YEXAMPLE`, "AWS key ID": "AKIAIOSFODNN7EXAMPLE"}
	seen := map[string]string{}
	look := func(when string) {
		t.Helper()
		for k, v := range b.dump() {
			seen[when+": "+k] = v
		}
		for _, kind := range []string{"services", "configs", "secrets", "tasks", "networks", "nodes"} {
			seen[when+": engine's "+kind] = b.ask(kind)
		}
		for _, r := range records(b) {
			seen[when+": data of the config of "+r.Container.ID] = string(r.Data)
		}
	}
	ask := func(id string) *CreateContainerArgs {
		return &CreateContainerArgs{Request: Request{IdempotencyKey: id}, Body: CreateContainerRequest{S3Bucket: "workspace", Labels: map[string]string{"a": "b"},
			VNCPassword: planted["VNC password"], AWSAccessKeyID: planted["AWS key ID"], AWSSecretAccessKey: planted["AWS secret"]}}
	}
	out, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, ask("idem"))
	b.must(err)
	secrets, err := Secrets(b.Deps, out.Container)
	b.must(err)
	planted["agent token"], planted["code-server password"] = secrets.AgentToken, secrets.CodePassword
	look("queued")
	answer := CreateContainer.answer(out.Container, out.Job)
	again, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, ask("idem"))
	b.must(err)
	seen["the answer"], seen["the answer again"] = answer, again.Answered
	b.execute(out.Job.ID, ide.JobSucceeded)
	look("running")

	b.inside.say("agent", answer401)
	failing, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, ask("failing"))
	b.must(err)
	b.execute(failing.Job.ID, ide.JobFailed)
	look("failed")
	b.execute(b.stop(StopContainerArgs{ID: out.Container.ID}).Job.ID, ide.JobSucceeded)
	look("stopped")
	seen["the log"] = b.log.String()

	for where, text := range seen {
		for what, secret := range planted {
			if form := leak(text, secret); form != "" {
				t.Errorf("%s: %s in %s", what, form, where)
			}
		}
	}
	if len(b.inside.given) != 2 {
		t.Fatalf("containers got %d secrets, want 2", len(b.inside.given))
	}
	for what, secret := range planted {
		if leak(b.inside.given[0], secret) == "" {
			t.Errorf("the container did not get the %s: %q", what, b.inside.given[0])
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d places were looked at", len(seen))
	}
}

var answer401 = answer{status: 401}
