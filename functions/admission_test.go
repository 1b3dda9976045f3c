package functions

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

func TestCreateIsAdmitted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.MaxPerKey = 3
	out := b.create(CreateContainerRequest{
		S3Bucket: "alice-workspace", S3Prefix: "course-1/alice", Image: "berth/ide:full", Labels: map[string]string{"team": "harbour"},
		Resources: &ResourceRequest{CPULimit: 2, MemoryLimit: "2g"},
	})
	got := b.container(out.Container.ID)
	want := ide.Container{
		ID: out.Container.ID, Run: 1, Owner: "alice", Status: ide.Starting, Image: "berth/ide:full", Template: "default", Node: b.engine.NodeID(),
		S3:        ide.Bucket{Name: "alice-workspace", Region: "eu-central-1", Prefix: "course-1/alice"},
		Resources: ide.Resources{CPULimit: 2e9, MemoryLimit: 2 << 30, CPUReservation: 25e7, MemoryReservation: 256 << 20, PIDs: 512},
		Labels:    map[string]string{"team": "harbour"},
		URLs: ide.URLs{VNC: "http://" + out.Container.ID + "-vnc.ide.test:8080", Code: "http://" + out.Container.ID + "-code.ide.test:8080",
			WebServer: "http://" + out.Container.ID + "-web.ide.test:8080"},
		CreatedAt: got.CreatedAt, Job: "container-create:" + out.Container.ID + ":1", Probe: got.Probe, Sealed: got.Sealed,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if age := time.Since(got.CreatedAt); age < 0 || age > time.Minute || !ide.ValidID(got.ID) || !ide.ValidID(got.Probe) || got.Sealed == "" {
		t.Errorf("created %v ago, probe %q, sealed %q", age, got.Probe, got.Sealed)
	}
	secrets, err := Secrets(b.Deps, got)
	if err != nil || len(secrets.AgentToken) != 32 || len(secrets.VNCPassword) != 8 || len(secrets.CodePassword) != 16 {
		t.Errorf("got secrets of %d, %d and %d characters, %v, want 32, 8 and 16", len(secrets.AgentToken), len(secrets.VNCPassword), len(secrets.CodePassword), err)
	}
	other, err := Secrets(b.Deps, b.container(b.create(CreateContainerRequest{VNCPassword: "mine1234", S3Region: "eu-west-1"}).Container.ID))
	if err != nil || other.VNCPassword != "mine1234" || other.AgentToken == secrets.AgentToken || other.CodePassword == secrets.CodePassword {
		t.Errorf("got %+v, %v, want the password that was asked for and a token of its own", other, err)
	}
	if got, want := b.reserved(), "500000000 536870912"; got != want {
		t.Errorf("reserved: got %s, want %s", got, want)
	}
}

func TestCreateIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	many := func(n int) string { return strings.Repeat("x", n) }
	for name, tc := range map[string]struct {
		body  CreateContainerRequest
		code  ide.Code
		words string
	}{
		"no bucket":                 {CreateContainerRequest{}, ide.InvalidS3Bucket, "bucket name"},
		"bucket with capitals":      {CreateContainerRequest{S3Bucket: "Alice"}, ide.InvalidS3Bucket, "bucket name"},
		"key ID without its secret": {CreateContainerRequest{S3Bucket: "b-1", AWSAccessKeyID: "AKIA"}, ide.ValidationFailed, "must come together"},
		"secret without its key ID": {CreateContainerRequest{S3Bucket: "b-1", AWSSecretAccessKey: "s"}, ide.ValidationFailed, "must come together"},
		"image not allowed":         {CreateContainerRequest{S3Bucket: "b-1", Image: "evil/ide"}, ide.ValidationFailed, "not allowed"},
		"pattern stops at a slash":  {CreateContainerRequest{S3Bucket: "b-1", Image: "berth/x/ide"}, ide.ValidationFailed, "not allowed"},
		"too little memory":         {CreateContainerRequest{S3Bucket: "b-1", Resources: &ResourceRequest{MemoryLimit: "63m"}}, ide.ValidationFailed, "at least 64m"},
		"memory is no size":         {CreateContainerRequest{S3Bucket: "b-1", Resources: &ResourceRequest{MemoryLimit: "lots"}}, ide.ValidationFailed, "at least 64m"},
		"more memory than allowed":  {CreateContainerRequest{S3Bucket: "b-1", Resources: &ResourceRequest{MemoryLimit: "5g"}}, ide.ValidationFailed, "must not be more than 2, and memoryLimit not more than 4GiB"},
		"more CPU than allowed":     {CreateContainerRequest{S3Bucket: "b-1", Resources: &ResourceRequest{CPULimit: 2.01}}, ide.ValidationFailed, "must not be more than 2, and memoryLimit not more than 4GiB"},
		"label key":                 {CreateContainerRequest{S3Bucket: "b-1", Labels: map[string]string{"a b": ""}}, ide.ValidationFailed, "label's key"},
		"label value too long":      {CreateContainerRequest{S3Bucket: "b-1", Labels: map[string]string{"a": many(256)}}, ide.ValidationFailed, "label's key"},
		"label value with a break":  {CreateContainerRequest{S3Bucket: "b-1", Labels: map[string]string{"a": "b\nc"}}, ide.ValidationFailed, "label's key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, &CreateContainerArgs{Body: tc.body})
			wantError(t, "create", err, tc.code, true)
			if e := ide.AsError(err); !strings.Contains(e.Message, tc.words) || tc.code == ide.ValidationFailed && e.Details == nil {
				t.Errorf("got %q, details %v, want %q", e.Message, e.Details, tc.words)
			}
		})
	}
	if n := len(b.rdb.Keys(t.Context(), "{berth}:[cj]:*").Val()); n != 0 {
		t.Errorf("refused requests left %d keys", n)
	}
}

func TestCreateWithoutRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ask := func() error {
		_, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, &CreateContainerArgs{Body: CreateContainerRequest{S3Bucket: "workspace"}})
		return err
	}
	b.MaxPerKey = 1
	b.must(ask())
	wantError(t, "one more than the key may have", ask(), ide.ContainerLimitExceeded, true)
	b.MaxPerKey = 0
	b.Deps.Resources.CPUReservation, b.Deps.Resources.CPULimit, b.MaxResources.CPULimit = 4e9, 4e9, 0
	err := ask()
	wantError(t, "more than the node has", err, ide.ResourceLimitExceeded, true)
	if e := ide.AsError(err); e.RetryAfter == 0 || !strings.Contains(e.Message, "3.75 CPU") {
		t.Errorf("got %q, again after %v, want what is free and when to ask again", e.Message, e.RetryAfter)
	}
	b.must(b.Store.PublishNodes(t.Context(), nil))
	err = ask()
	wantError(t, "no node known", err, ide.ResourceLimitExceeded, true)
	if ide.AsError(err).RetryAfter == 0 {
		t.Error("nobody says when to ask again")
	}
}

func TestStateDecidesWhatIsAdmitted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.create(CreateContainerRequest{}).Container.ID
	ctx := t.Context()
	stop := func(p ide.Principal, purge bool) error {
		_, err := StopContainer.Admit(ctx, b.Deps, p, &StopContainerArgs{ID: id, Purge: purge})
		return err
	}
	calls := map[string]func(p ide.Principal) error{
		"probe": func(p ide.Principal) error {
			_, err := ProbeContainer.Enqueue(ctx, b.Deps, p, &ProbeContainerArgs{ID: id})
			return err
		},
		"start": func(p ide.Principal) error {
			_, err := StartContainer.Enqueue(ctx, b.Deps, p, &StartContainerArgs{ID: id})
			return err
		},
		"purge": func(p ide.Principal) error {
			_, err := StopContainer.Enqueue(ctx, b.Deps, p, &StopContainerArgs{ID: id, Purge: true})
			return err
		},
		"stop": func(p ide.Principal) error {
			_, err := StopContainer.Enqueue(ctx, b.Deps, p, &StopContainerArgs{ID: id})
			return err
		},
	}
	for name, call := range calls {
		wantError(t, name+" of somebody else's", call(bob), ide.ContainerNotFound, true)
	}
	for status, refused := range map[ide.Status][]string{
		ide.Starting: {"probe", "start"},
		ide.Stopping: {"probe", "start"},
		ide.Stopped:  {"probe"},
		ide.Failed:   {"probe"},
	} {
		for _, name := range refused {
			if _, err := b.Store.Update(ctx, id, func(c *ide.Container) error { c.Status = status; return nil }); err != nil {
				t.Fatal(err)
			}
			err := calls[name](alice)
			wantError(t, name+" while "+string(status), err, ide.Conflict, true)
			if diff := cmp.Diff(map[string]any{"status": status}, ide.AsError(err).Details); diff != "" {
				t.Errorf("%s while %s: details (-want +got):\n%s", name, status, diff)
			}
		}
	}
	b.must(b.rdb.Del(ctx, "{berth}:c:"+id).Err())
	for name, call := range calls {
		wantError(t, name+" of nothing", call(admin), ide.ContainerNotFound, true)
	}
	wantError(t, "stop of nothing", stop(admin, false), ide.ContainerNotFound, true)
}

func TestImage(t *testing.T) {
	t.Parallel()
	usual := ide.Template{Image: "berth/ide:slim"}
	s := Settings{ImageAllow: []string{"berth/ide:*", "registry.test:5000/*/ide", "["}}
	for asked, want := range map[string]string{
		"":                             "berth/ide:slim",
		"berth/ide:slim":               "berth/ide:slim",
		"berth/ide:full":               "berth/ide:full",
		"registry.test:5000/alice/ide": "registry.test:5000/alice/ide",
		"berth/ide":                    "", "berth/ide:a/b": "", "Berth/ide:full": "", "x/berth/ide:full": "",
		"registry.test:5000/a/b/ide": "", "[": "",
	} {
		got, err := s.image(asked, usual)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("image(%q) = %q, %v, want %q", asked, got, err, want)
		}
	}
	if got, err := (Settings{}).image("y", usual); err == nil {
		t.Errorf("without a pattern %q was allowed", got)
	}
}

func TestResources(t *testing.T) {
	t.Parallel()
	has := ide.Resources{CPULimit: 2e9, MemoryLimit: 4 << 30, CPUReservation: 25e7, MemoryReservation: 512 << 20, PIDs: 100}
	for name, tc := range map[string]struct {
		most  ide.Resources
		asked *ResourceRequest
		want  ide.Resources
	}{
		"nothing asked":            {ide.Resources{}, nil, has},
		"empty":                    {ide.Resources{}, &ResourceRequest{}, has},
		"any size without a bound": {ide.Resources{}, &ResourceRequest{CPULimit: 64, MemoryLimit: "1t"}, ide.Resources{CPULimit: 64e9, MemoryLimit: 1 << 40, CPUReservation: 25e7, MemoryReservation: 512 << 20, PIDs: 100}},
		"as much as allowed":       {ide.Resources{CPULimit: 4e9, MemoryLimit: 8 << 30}, &ResourceRequest{CPULimit: 4, MemoryLimit: "8G"}, ide.Resources{CPULimit: 4e9, MemoryLimit: 8 << 30, CPUReservation: 25e7, MemoryReservation: 512 << 20, PIDs: 100}},
		"reservation below limit":  {ide.Resources{}, &ResourceRequest{CPULimit: 0.1, MemoryLimit: "128m"}, ide.Resources{CPULimit: 1e8, MemoryLimit: 128 << 20, CPUReservation: 1e8, MemoryReservation: 128 << 20, PIDs: 100}},
	} {
		got, err := Settings{Resources: has, MaxResources: tc.most}.resources(tc.asked, ide.Template{})
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// FuzzBucketName compares with Amazon's rules, spelled out once more.
func FuzzBucketName(f *testing.F) {
	for _, s := range []string{"abc", "a.b-c", "ab", "", strings.Repeat("a", 63), strings.Repeat("a", 64), "Abc", "a_b", "-ab", "ab-", ".ab", "ab.",
		"a..b", "192.168.5.4", "192.168.5.4.5", "xn--abc", "abc-s3alias", "abc\n", "äbc", "a b", "a/b", "a:b", "1234"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		edge := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
		want := len(name) >= 3 && len(name) <= 63 && edge(name[0]) && edge(name[len(name)-1])
		for _, c := range []byte(name) {
			want = want && (edge(c) || c == '.' || c == '-')
		}
		quad := strings.Split(name, ".")
		digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
		want = want && !strings.Contains(name, "..") && !(len(quad) == 4 && !slices.ContainsFunc(quad, func(s string) bool { return !digits(s) })) &&
			!strings.HasPrefix(name, "xn--") && !strings.HasSuffix(name, "-s3alias")
		err := checkBucket(name)
		if got := err == nil; got != want {
			t.Errorf("checkBucket(%q) = %v, want allowed %t", name, err, want)
		}
		if err != nil && (!ide.HasCode(err, ide.InvalidS3Bucket) || len(name) > 3 && strings.Contains(err.Error(), name)) {
			t.Errorf("checkBucket(%q) = %v, want INVALID_S3_BUCKET without the value", name, err)
		}
	})
}

// FuzzPrefix: a prefix that is taken is a folder in the bucket that no other
// spelling leads out of, or into the control plane's own.
func FuzzPrefix(f *testing.F) {
	for _, s := range []string{"", "a", "course-1/alice", "/a/", "a//b", "..", "a/../b", "./a", ".berth", "a/.berth/b", "a\x00", "a\n", "\xff", "ü/b", "/", "...", ".berth2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, prefix string) {
		err := checkPrefix(prefix)
		if err != nil {
			if !ide.HasCode(err, ide.ValidationFailed) {
				t.Errorf("%q: got %v, want VALIDATION_FAILED", prefix, err)
			}
			return
		}
		folder := strings.Trim(prefix, "/")
		if clean := path.Clean("/" + folder); clean != "/"+folder || slices.Contains(strings.Split(folder, "/"), ".berth") || !utf8.ValidString(prefix) {
			t.Errorf("%q is taken, which is %q", prefix, clean)
		}
	})
}

func FuzzLabels(f *testing.F) {
	for _, kv := range [][2]string{{"team", "harbour"}, {"a", ""}, {"", "x"}, {"example.com/team", "ü"}, {"-a", "x"}, {"a-", "x"}, {"a b", "x"},
		{"a", "b\x00"}, {"a", "b\x7f"}, {"a", "\t"}, {strings.Repeat("k", 63), strings.Repeat("v", 255)}, {strings.Repeat("k", 64), ""},
		{"k", strings.Repeat("v", 256)}, {"a\n", "x"}, {"traefik.enable", "true"}, {"k", "a\xffb"}} {
		f.Add(kv[0], kv[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		alnum := func(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' }
		want := len(key) >= 1 && len(key) <= 63 && alnum(key[0]) && alnum(key[len(key)-1]) && len(value) <= 255
		for _, c := range []byte(key) {
			want = want && (alnum(c) || strings.IndexByte("._/-", c) >= 0)
		}
		for _, c := range []byte(value) {
			want = want && c >= ' ' && c != 0x7f
		}
		if err := checkLabels(map[string]string{key: value}); (err == nil) != want {
			t.Errorf("checkLabels(%q: %q) = %v, want allowed %t", key, value, err, want)
		} else if err != nil && !ide.HasCode(err, ide.ValidationFailed) {
			t.Errorf("checkLabels(%q: %q) = %v, want VALIDATION_FAILED", key, value, err)
		}
	})
}

func FuzzMemorySize(f *testing.F) {
	for _, s := range []string{"4g", "512m", "64m", "63m", "65536k", "67108864", "1.5g", "0", "-1g", "g", " 4 g ", "4gib", "4GB", "1e3g", "1e300", "0x1p70", "inf",
		"NaN", "9223372036854775807", "9223372036854775808", "8p", "9999999p", "4g4g", "٤g"} {
		f.Add(s)
	}
	const most = 1 << 40
	s := Settings{Resources: ide.Resources{CPULimit: 1e9, MemoryLimit: 1 << 30, MemoryReservation: 512 << 20}, MaxResources: ide.Resources{MemoryLimit: most}}
	f.Fuzz(func(t *testing.T, size string) {
		r, err := s.resources(&ResourceRequest{MemoryLimit: size}, ide.Template{})
		switch {
		case err != nil && !ide.HasCode(err, ide.ValidationFailed):
			t.Errorf("%q: got %v, want VALIDATION_FAILED", size, err)
		case err == nil && size != "" && (r.MemoryLimit < 64<<20 || r.MemoryLimit > most || r.MemoryReservation > r.MemoryLimit || r.MemoryReservation <= 0):
			t.Errorf("%q: got %+v", size, r)
		case err == nil && !utf8.ValidString(size):
			t.Errorf("%q is a size", size)
		}
	})
}

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := ide.Checks{CodeServer: true, VNC: true}
	health := func(status string, failures int, c ide.Checks) *ide.Health {
		return &ide.Health{Status: status, LastCheck: now, Checks: c, Failures: failures}
	}
	for name, tc := range map[string]struct {
		was    *ide.Health
		checks ide.Checks
		want   *ide.Health
	}{
		"first look, all well":           {nil, ide.Checks{CodeServer: true, VNC: true, WebServer: true}, health("healthy", 0, ide.Checks{CodeServer: true, VNC: true, WebServer: true})},
		"no web server is no illness":    {nil, good, health("healthy", 0, good)},
		"first look, nothing answers":    {nil, ide.Checks{}, health("healthy", 1, ide.Checks{})},
		"web server alone is not enough": {nil, ide.Checks{WebServer: true}, health("healthy", 1, ide.Checks{WebServer: true})},
		"one slow answer":                {health("healthy", 0, good), ide.Checks{VNC: true}, health("healthy", 1, ide.Checks{VNC: true})},
		"two":                            {health("healthy", 1, good), ide.Checks{CodeServer: true}, health("healthy", 2, ide.Checks{CodeServer: true})},
		"three in a row":                 {health("healthy", 2, good), ide.Checks{}, health("unhealthy", 3, ide.Checks{})},
		"it stays so":                    {health("unhealthy", 3, good), ide.Checks{}, health("unhealthy", 4, ide.Checks{})},
		"one success mends it":           {health("unhealthy", 9, ide.Checks{}), good, health("healthy", 0, good)},
	} {
		was := &ide.Health{}
		if tc.was != nil {
			*was = *tc.was
		}
		if diff := cmp.Diff(tc.want, judge(tc.was, tc.checks, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if tc.was != nil && *tc.was != *was {
			t.Errorf("%s: what was known was changed", name)
		}
	}
}

func TestPasswordsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		seen[password(8)] = true
	}
	if len(seen) != 1000 {
		t.Errorf("got %d different passwords of 1000", len(seen))
	}
	for _, n := range []int{1, 8, 16, 32} {
		if got := password(n); len(got) != n {
			t.Errorf("password(%d) has %d characters", n, len(got))
		}
	}
}

// What is wrong with a request is told as a rule: what a field must be. "url has
// no password" reads as the opposite of what it means.
func TestValidationSaysWhatMustBe(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	call := regexp.MustCompile(`invalid\([^"\n]*"[^"]*", (?:fmt\.Sprintf\()?"([^"]*)|(?:return "(url [^"]*))`)
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			found++
			if said := m[1] + m[2]; !strings.Contains(said, "must ") {
				t.Errorf("%s: %q does not say what must be", file, said)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d messages were found", found)
	}
}

// The limits of a label are what the refusal says: characters, not bytes.
func TestLabelLimitsAreCharacters(t *testing.T) {
	t.Parallel()
	for value, ok := range map[string]bool{strings.Repeat("é", 255): true, strings.Repeat("é", 256): false} {
		if err := checkLabels(map[string]string{"a": value}); (err == nil) != ok {
			t.Errorf("%d characters: %v", utf8.RuneCountInString(value), err)
		}
	}
}
