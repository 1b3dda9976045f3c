package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"berth/internal/ide"
)

// codeServer is VS Code in the browser: a program on a unix socket, with its
// own login, behind the agent's port.
type codeServer struct {
	a       *agent
	program *program
	front   *front
	guesses guesses
}

// newCodeServer writes code-server's configuration. The password stands there
// as a hash, in a file of the user's own: command line and environment are
// everybody's who may list processes.
func newCodeServer(a *agent) (*codeServer, error) {
	socket, config := a.file("code.sock"), a.file("code-server.yaml")
	var text strings.Builder
	for _, o := range []struct {
		name  string
		value any
	}{
		{"socket", socket}, {"socket-mode", "600"},
		{"auth", "password"}, {"hashed-password", argon2Hash(a.cfg.Secrets.CodePassword)},
		{"app-name", "Berth " + a.cfg.ID}, {"i18n", a.cfg.Image.Login},
		{"disable-telemetry", true}, {"disable-update-check", true},
		{"disable-workspace-trust", true}, {"disable-getting-started-override", true},
	} {
		v, err := json.Marshal(o.value) // which YAML reads too
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&text, "%s: %s\n", o.name, v)
	}
	if err := writePrivate(config, []byte(text.String())); err != nil {
		return nil, fmt.Errorf("write editor's configuration: %w", err)
	}
	c := &codeServer{a: a}
	c.guesses.of = map[string]guess{}
	dial := unixDialer(socket)
	c.front = newFront(front{dial: dial, answer: annotate, absent: c.starting}, a.log)
	c.program = a.program("code", func() (*exec.Cmd, error) {
		os.Remove(socket)
		cmd := exec.Command(a.cfg.Image.Node, a.cfg.Image.CodeServer, "--config", config, a.cfg.Workspace)
		cmd.Env = append(a.environ(), activityVariable+"="+a.file(activityFile))
		cmd.Dir = a.cfg.Workspace
		return cmd, nil
	})
	c.program.answers = func() bool { return reachable(dial) }
	c.program.yields = ide.PortWeb.Number
	return c, nil
}

// argon2Hash hashes a password as code-server's hashed-password wants it, with
// the parameters that OWASP recommends. The salt is of this process: a restart
// of the container ends all sessions, one of code-server none.
func argon2Hash(password string) string {
	const memory, passes, lanes = 19 << 10, 2, 1
	salt := make([]byte, 16)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, passes, memory, lanes, 32)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, lanes, b64(salt), b64(key))
}

func (c *codeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Express ignores case and a slash at the end.
	if r.Method == http.MethodPost && strings.EqualFold(path.Clean("/"+r.URL.Path), "/login") {
		c.login(w, r)
		return
	}
	c.front.ServeHTTP(w, r)
}

// login lets right passwords through. Wrong ones end here, counted by client:
// code-server's own limit is one for all, so that a stranger's guesses would
// lock the owner out.
func (c *codeServer) login(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		http.Error(w, "This form cannot be read.", http.StatusBadRequest)
		return
	}
	form, err := url.ParseQuery(string(body))
	who := client(r)
	if wait := c.guesses.try(who, c.a.now()); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(wholeSeconds(wait)))
		c.refuse(w, r, http.StatusTooManyRequests, tooMany(wait))
		return
	}
	if err != nil || !same(form.Get("password"), c.a.cfg.Secrets.CodePassword) {
		c.a.log.Warn("wrong password", "container", c.a.cfg.ID, "service", "code", "client", who)
		c.refuse(w, r, http.StatusUnauthorized, "That is not the password.")
		return
	}
	c.guesses.right(who)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	c.front.ServeHTTP(w, r)
}

// refusal is what annotate puts onto code-server's login page.
type refusal struct {
	status  int
	message string
}

type refusalKey struct{}

// refuse shows code-server's own login page with a message.
func (c *codeServer) refuse(w http.ResponseWriter, r *http.Request, status int, message string) {
	page := r.Clone(context.WithValue(r.Context(), refusalKey{}, refusal{status, message}))
	page.Method, page.Body, page.ContentLength = http.MethodGet, http.NoBody, 0
	page.URL.Path, page.URL.RawPath = "/login", ""
	for _, h := range []string{"Cookie", "Accept-Encoding", "Content-Type", "Content-Length", "If-None-Match"} {
		page.Header.Del(h)
	}
	c.front.ServeHTTP(w, page)
}

// annotate puts a refusal onto the login page, in the element that code-server
// itself uses for it.
func annotate(res *http.Response) error {
	why, ok := res.Request.Context().Value(refusalKey{}).(refusal)
	if !ok {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	res.Body.Close()
	if err != nil {
		return fmt.Errorf("read login page: %w", err)
	}
	note := `<div class="error">` + html.EscapeString(why.message) + `</div>`
	b = bytes.Replace(b, []byte("</form>"), []byte(note+"</form>"), 1)
	res.StatusCode, res.Status = why.status, ""
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	res.Header.Set("Content-Length", strconv.Itoa(len(b)))
	res.Header.Del("ETag")
	return nil
}

// starting is the page until code-server answers, and again after a crash.
func (c *codeServer) starting(w http.ResponseWriter, r *http.Request, _ error) {
	c.a.notYet(w, "Editor", "The editor is starting.")
}

// notYet is a page that asks again by itself.
func (a *agent) notYet(w http.ResponseWriter, title, message string) {
	w.Header().Set("Refresh", "1")
	w.Header().Set("Retry-After", "1")
	a.render(w, http.StatusServiceUnavailable, "message.html", view{Title: title, Message: message})
}

// writePrivate writes a file that only its owner reads.
func writePrivate(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}
