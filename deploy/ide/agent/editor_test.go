package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// editing is a person at the editor.
type editing struct {
	t *testing.T
	*agent
	session *http.Cookie
}

func newEditing(t *testing.T) editing {
	a, _ := newTestAgent(t)
	return editing{t, a, login(t, a, "code", "code-password")}
}

func (e editing) get(path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.AddCookie(e.session)
	return do(e.agent, "code", r)
}

func (e editing) post(path string, form ...string) *httptest.ResponseRecorder {
	v := url.Values{}
	for i := 0; i < len(form); i += 2 {
		v.Set(form[i], form[i+1])
	}
	return do(e.agent, "code", post(path, v, e.session))
}

func (e editing) base(path string) string {
	e.t.Helper()
	m := regexp.MustCompile(`name="base" value="([0-9a-f]{64})"`).FindStringSubmatch(e.get(at(path)).Body.String())
	if m == nil {
		e.t.Fatalf("%s is not open for editing", path)
	}
	return m[1]
}

func (e editing) content(path string) string {
	b, err := os.ReadFile(filepath.Join(e.cfg.Workspace, path))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestEditAFile(t *testing.T) {
	t.Parallel()
	e := newEditing(t)
	if w := e.get("/"); !strings.Contains(w.Body.String(), "This folder is empty") {
		t.Errorf("new workspace: got %s", w.Body)
	}
	if w := e.post("/new", "dir", ".", "name", "src/a & b.txt", "kind", "file"); w.Code != 303 || w.Header().Get("Location") != at("src/a & b.txt") {
		t.Fatalf("new: got %d %s", w.Code, w.Header().Get("Location"))
	}
	name := "src/a & b.txt"
	os.Chmod(filepath.Join(e.cfg.Workspace, name), 0o755)
	if w := e.post("/save", "path", name, "base", e.base(name), "text", "\r\none\r\n<two>\r\n"); w.Code != 303 {
		t.Fatalf("save: got %d %s", w.Code, w.Body)
	}
	if got := e.content(name); got != "\none\n<two>\n" {
		t.Errorf("content: got %q", got)
	}
	if info, _ := os.Stat(filepath.Join(e.cfg.Workspace, name)); info.Mode().Perm() != 0o755 {
		t.Errorf("mode: got %v, want 0755 as before", info.Mode())
	}
	w := e.get(at(name) + "&saved")
	for _, want := range []string{testID, "Saved.", "\n\none\n&lt;two&gt;\n</textarea>", "path=src"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, w.Body)
		}
	}
	if e.lastActivity().Source != "editor" {
		t.Errorf("activity %+v, want the editor's", e.lastActivity())
	}
	if w := e.get("/raw?path=" + url.QueryEscape(name)); w.Body.String() != "\none\n<two>\n" ||
		!strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") || w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("download: got %v", w.Header())
	}
	if w := e.post("/delete", "path", name); w.Code != 303 || w.Header().Get("Location") != at("src") {
		t.Errorf("delete: got %d %s", w.Code, w.Header().Get("Location"))
	}
	if w := e.post("/delete", "path", "src"); w.Code != 303 {
		t.Errorf("delete folder: got %d", w.Code)
	}
	if left, _ := os.ReadDir(e.cfg.Workspace); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	e := newEditing(t)
	if w := e.post("/new", "dir", "", "name", "docs", "kind", "folder"); w.Code != 303 {
		t.Fatalf("got %d", w.Code)
	}
	put(t, e.agent, "a.txt", strings.Repeat("x", 1536))
	body := e.get("/").Body.String()
	if docs, a := strings.Index(body, ">docs/</a>"), strings.Index(body, ">a.txt</a>"); docs < 0 || a < docs || !strings.Contains(body, "1.5 KiB") {
		t.Errorf("want docs/ before a.txt, with a size:\n%s", body)
	}
	if w := e.post("/new", "dir", "", "name", "docs", "kind", "folder"); w.Code != http.StatusConflict {
		t.Errorf("twice: got %d, want 409", w.Code)
	}
	if w := e.post("/new", "dir", "", "name", "a.txt", "kind", "file"); w.Code != http.StatusConflict || e.content("a.txt") == "" {
		t.Errorf("a name that is taken: got %d, want 409 and the file as it was", w.Code)
	}
	if w := e.get("/nowhere"); w.Code != 404 {
		t.Errorf("unknown page: got %d, want 404", w.Code)
	}
}

func TestLineEndsStay(t *testing.T) {
	t.Parallel()
	e := newEditing(t)
	put(t, e.agent, "dos.bat", "a\r\nb\r\n")
	e.post("/save", "path", "dos.bat", "base", e.base("dos.bat"), "text", "a\r\nc\r\n")
	if got := e.content("dos.bat"); got != "a\r\nc\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestSaveDoesNotOverwriteUnseen(t *testing.T) {
	t.Parallel()
	e := newEditing(t)
	put(t, e.agent, "a.txt", "mine")
	base := e.base("a.txt")
	put(t, e.agent, "a.txt", "somebody else's")
	w := e.post("/save", "path", "a.txt", "base", base, "text", "typed")
	if w.Code != http.StatusConflict || e.content("a.txt") != "somebody else's" {
		t.Fatalf("got %d and %q, want 409 and the other's text", w.Code, e.content("a.txt"))
	}
	if !strings.Contains(w.Body.String(), "\ntyped</textarea>") {
		t.Errorf("what was typed is lost:\n%s", w.Body)
	}
	base = regexp.MustCompile(`name="base" value="([0-9a-f]{64})"`).FindStringSubmatch(w.Body.String())[1]
	if w := e.post("/save", "path", "a.txt", "base", base, "text", "typed"); w.Code != 303 || e.content("a.txt") != "typed" {
		t.Errorf("again: got %d and %q", w.Code, e.content("a.txt"))
	}
}

func TestNothingOutsideTheWorkspace(t *testing.T) {
	t.Parallel()
	e := newEditing(t)
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret.txt")
	if err := os.WriteFile(secret, []byte("hush"), 0o644); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(e.cfg.Workspace, name) }
	rel, _ := filepath.Rel(e.cfg.Workspace, secret)
	for link, to := range map[string]string{"abs": secret, "rel": rel, "dir": outside, "loop": "loop"} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	base := digest([]byte("hush"))
	for _, p := range []string{rel, secret, "../secret.txt", "a/../../x", "abs", "rel", "dir", "dir/secret.txt", "dir/new", "loop", "a\x00b", "/", "//", ".."} {
		for _, w := range []*httptest.ResponseRecorder{
			e.get(at(p)), e.get("/raw?" + url.Values{"path": {p}}.Encode()),
			e.post("/save", "path", p, "base", base, "text", "changed"),
			e.post("/new", "dir", p, "name", "new", "kind", "file"),
			e.post("/new", "dir", p, "name", "new2", "kind", "folder"),
			e.post("/new", "dir", ".", "name", p, "kind", "file"),
		} {
			if w.Code < 400 && !strings.Contains(w.Header().Get("Location"), "path="+url.QueryEscape(strings.Trim(p, "/"))) || strings.Contains(w.Body.String(), "hush") {
				t.Errorf("%q: got %d %s", p, w.Code, w.Header().Get("Location"))
			}
		}
	}
	if w := e.post("/delete", "path", "dir"); w.Code != 303 {
		t.Errorf("deleting a link: got %d", w.Code)
	}
	e.post("/delete", "path", "..")
	e.post("/delete", "path", ".")
	e.post("/delete", "path", "")
	if b, err := os.ReadFile(secret); string(b) != "hush" {
		t.Errorf("outside: got %q, %v; want it untouched", b, err)
	}
	if left, _ := os.ReadDir(outside); len(left) != 1 {
		t.Errorf("outside: got %v, want one file", left)
	}
}

func TestLinksInsideTheWorkspace(t *testing.T) {
	t.Parallel()
	e := newEditing(t)
	put(t, e.agent, "real.txt", "one")
	os.Symlink("real.txt", filepath.Join(e.cfg.Workspace, "link"))
	if w := e.get("/"); !strings.Contains(w.Body.String(), "→ real.txt") {
		t.Errorf("the list does not show where the link points:\n%s", w.Body)
	}
	e.post("/save", "path", "link", "base", e.base("link"), "text", "two")
	info, _ := os.Lstat(filepath.Join(e.cfg.Workspace, "link"))
	if e.content("real.txt") != "two" || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("got %q through %v, want the target written and the link kept", e.content("real.txt"), info.Mode())
	}
}

func TestFilesThatAreNoText(t *testing.T) {
	t.Parallel()
	e := newEditing(t)
	put(t, e.agent, "binary", "a\x00b")
	put(t, e.agent, "long", strings.Repeat("x", maxEdit+1))
	if err := syscall.Mkfifo(filepath.Join(e.cfg.Workspace, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"binary", "long"} {
		if w := e.get(at(name)); w.Code != 200 || strings.Contains(w.Body.String(), "<textarea") || !strings.Contains(w.Body.String(), "Download it") {
			t.Errorf("%s: got %d", name, w.Code)
		}
	}
	if w := e.get(at("pipe")); w.Code != 400 {
		t.Errorf("pipe: got %d, want 400 and no waiting", w.Code)
	}
	if w := e.post("/save", "path", "none", "text", "x"); w.Code != 404 {
		t.Errorf("save of nothing: got %d, want 404", w.Code)
	}
	if w := e.post("/save", "path", "binary", "text", strings.Repeat("x", 7*maxEdit)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("endless text: got %d, want 413", w.Code)
	}
	r := post("/save", nil, e.session)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; =")
	if w := do(e.agent, "code", r); w.Code != 400 {
		t.Errorf("no form: got %d, want 400", w.Code)
	}
}

func TestSystemErrorsAreLoggedNotShown(t *testing.T) {
	t.Parallel()
	e := newEditing(t)
	put(t, e.agent, "file", "")
	w := e.post("/new", "dir", "file", "name", "x", "kind", "file")
	if w.Code < 400 || strings.Contains(w.Body.String(), "not a directory") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
