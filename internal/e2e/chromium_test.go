package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/lab"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/docker/docker/client"
)

// fullImage is what deploy/test brings to the first node.
const fullImage = "berth/ide:full"

// needFull skips the test where the lab has no full image; where CI is set it
// fails.
func (c *cluster) needFull() {
	c.t.Helper()
	_, err := c.engine.ImageInspect(context.Background(), fullImage)
	switch ci := os.Getenv("CI"); {
	case client.IsErrNotFound(err) && (ci == "" || ci == "false"):
		c.t.Skip("needs the full IDE image: FULL=1 make lab-up")
	case err != nil:
		c.t.Fatal(err)
	}
}

// credentials are those of a container.
type credentials struct {
	VNC  string `json:"vncPassword"`
	Code string `json:"codeServerPassword"`
}

// browser is a Chromium in the lab's client network for whom every host name
// leads to one address. It is one tab.
type browser struct {
	t   testing.TB
	ctx context.Context
}

// browser's host names lead to the cluster's gateway.
func (c *cluster) browser() *browser {
	c.t.Helper()
	return newBrowser(c.t, c.forward())
}

func newBrowser(t testing.TB, address string, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-3d-apis", true), // so that the terminal is text of the page
		chromedp.Flag("host-resolver-rules", "MAP * "+address),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as the context of its first run
		t.Fatalf("start Chromium: %v", err)
	}
	return &browser{t, ctx}
}

// tab opens another one. The editor asks before it is left for another page.
func (b *browser) tab() *browser {
	ctx, stop := chromedp.NewContext(b.ctx)
	b.t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatalf("open a tab: %v", err)
	}
	return &browser{b.t, ctx}
}

// forward gives the gateway an address in this process's network.
func (c *cluster) forward() string { return c.forwardTo(c.edgePort) }

// forwardTo gives a port of the control plane an address in this process's
// network.
func (c *cluster) forwardTo(port int) string {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { l.Close() })
	dial := dialIn(c.net)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := dial(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					return
				}
				defer out.Close()
				go func() { io.Copy(out, in); out.Close() }()
				io.Copy(in, out)
			}()
		}
	}()
	return l.Addr().String()
}

// do runs actions. Where they do not come to an end it says what the page
// shows.
func (b *browser) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	err := chromedp.Do(ctx, actions...)
	if err == nil {
		return
	}
	last, stop := context.WithTimeout(b.ctx, 10*time.Second)
	defer stop()
	text, _ := chromedp.Run(last, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	b.shot("failed")
	b.t.Fatalf("%s: %v\n%s", what, err, tail(text))
}

// shot takes a picture, which is kept in SCREENSHOTS if that names a folder.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644)
	}
	if err != nil {
		b.t.Errorf("screenshot %s: %v", name, err)
	}
}

// login passes code-server's login page and waits for the workbench.
func (b *browser) login(url, password string) {
	b.t.Helper()
	b.do("log in to the editor",
		chromedp.Navigate(url),
		chromedp.WaitVisible(`input[name=password]`),
		chromedp.SendKeys(`input[name=password]`, password+"\r"),
		chromedp.WaitVisible(`.monaco-workbench .explorer-viewlet`),
	)
}

// pick opens a box of the workbench with a key, types into it and takes the
// first line that it offers, whose label begins with want.
func (b *browser) pick(key string, mods chromedp.Modifier, text, want string) {
	b.t.Helper()
	line := fmt.Sprintf(`.quick-input-list .monaco-list-row.focused[aria-label^=%q]`, want)
	b.do("pick "+text,
		chromedp.KeyEvent(key, chromedp.KeyModifiers(mods)),
		chromedp.WaitVisible(`.quick-input-widget input`),
		chromedp.SendKeys(`.quick-input-widget input`, text),
		chromedp.WaitVisible(line),
		chromedp.Click(line),
	)
}

// insert puts text in at once, as pasting does: the terminal takes each key that
// chromedp presses twice.
func insert(text string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
		return err
	})
}

// openFile opens a file of the workspace and waits until it shows text.
func (b *browser) openFile(name, text string) {
	b.t.Helper()
	b.pick("p", chromedp.ModifierCtrl, name, name)
	b.do("see "+name,
		chromedp.WaitVisible(`.editor-instance .view-lines`),
		chromedp.Poll[chromedp.Void](fmt.Sprintf(`document.querySelector(".editor-instance .view-lines").innerText.replaceAll("\u00a0", " ").includes(%q)`, text)),
	)
}

// manyColors says of noVNC's canvas that it shows more than one plain area: a
// window manager's bar with writing on it.
const manyColors = `(() => {
	const canvas = document.querySelector("#noVNC_container canvas")
	if (!canvas.width || !canvas.height) return false
	const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)
	return new Set(pixels).size > 20
})()`

// ownFiles says of the explorer that it lists the file of the test, and not
// the folder in which the agent keeps what it knows of the last save.
const ownFiles = `(() => {
	const names = [...document.querySelectorAll(".explorer-viewlet .explorer-folders-view .monaco-list-row .label-name")].map(e => e.textContent)
	return names.includes("notes.txt") && names.includes(".berth-start") && !names.includes(".berth")
})()`

// desktop passes noVNC's dialog and waits for a picture.
func (b *browser) desktop(url, password string) {
	b.t.Helper()
	b.do("log in to the desktop",
		chromedp.Navigate(url),
		chromedp.WaitVisible(`#noVNC_credentials_dlg.noVNC_open #noVNC_password_input`),
		chromedp.Poll[chromedp.Void](`getComputedStyle(document.querySelector("#noVNC_password_input")).visibility == "visible"`), // it is faded in
		chromedp.SendKeys(`#noVNC_password_input`, password),
		chromedp.Click(`#noVNC_credentials_button`),
		chromedp.WaitVisible(`html.noVNC_connected #noVNC_container canvas`),
		chromedp.WaitNotPresent(`#noVNC_credentials_dlg.noVNC_open`),
		chromedp.Poll[chromedp.Void](manyColors),
	)
}

// TestPersonWithABrowser is the first path of a user: editor, desktop and a web
// server of their own, through the gateway, and their files in the bucket and
// back again after a stop.
func TestPersonWithABrowser(t *testing.T) {
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings("IMAGE="+fullImage, "CPU_LIMIT=2", "MEMORY_LIMIT=3g")...)
	c.needFull()
	c.worker("n1")
	s3.put(t, "person/notes.txt", "from the bucket\n")
	s := c.saved("person")
	passwords := ask[credentials](c, http.StatusOK, "GET", "/api/containers/"+s.ID+"/credentials", "")
	b := c.browser()

	b.login(s.URLs.Code, passwords.Code)
	b.openFile("notes.txt", "from the bucket")
	b.do("type",
		chromedp.Click(`.editor-instance .view-lines`),
		chromedp.KeyEvent(kb.End, chromedp.KeyModifiers(chromedp.ModifierCtrl)),
		chromedp.KeyEvent("written in the workbench"),
		chromedp.KeyEvent("s", chromedp.KeyModifiers(chromedp.ModifierCtrl)),
	)
	c.eventually("what was typed is in the bucket", patience, func() error {
		if got, err := s3.plain("person/notes.txt"); !strings.Contains(got, "from the bucket\nwritten in the workbench") {
			return fmt.Errorf("it has %q, %v", got, err)
		}
		return nil
	})

	b.pick(kb.F1, 0, "Terminal: Create New Terminal", "Terminal: Create New Terminal")
	b.do("start a web server in a terminal",
		chromedp.WaitVisible(`.terminal-wrapper .xterm-screen`),
		chromedp.Poll[chromedp.Void](`document.querySelector(".terminal-wrapper .xterm-rows")?.innerText.includes("$")`), // the prompt
		chromedp.Click(`.terminal-wrapper .xterm-screen`),
		insert("echo '#!/bin/sh' >.berth-start; echo exec python3 -m http.server 3000 >>.berth-start; chmod +x .berth-start"),
		chromedp.KeyEvent(kb.Enter),
	)
	b.shot("terminal")
	c.eventually("the web server answers", patience, func() error {
		if a := c.open(s.URLs.WebServer + "/notes.txt"); a.status != http.StatusOK || !strings.Contains(string(a.body), "written in the workbench") {
			return fmt.Errorf("%s", a)
		}
		return nil
	})
	b.do("see their own files in the explorer, and none of Berth's", chromedp.Poll[chromedp.Void](ownFiles))
	b.shot("editor")
	b = b.tab()
	b.do("see the web server", chromedp.Navigate(s.URLs.WebServer), chromedp.WaitVisible(`a[href="notes.txt"]`))
	b.shot("web")

	b.desktop(s.URLs.VNC, passwords.VNC)
	b.shot("desktop")

	c.succeed(c.stop(s.ID).ID)
	if got := c.get(s.ID); got.LastSave == nil || !got.LastSave.Verified {
		t.Errorf("last save: got %+v", got.LastSave)
	}
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/start", "").ID)
	b = b.tab()
	b.login(s.URLs.Code, passwords.Code)
	b.openFile("notes.txt", "written in the workbench")
	b.shot("again")
	c.eventually("the web server is started again", patience, func() error {
		if a := c.open(s.URLs.WebServer + "/notes.txt"); a.status != http.StatusOK {
			return fmt.Errorf("%s", a)
		}
		return nil
	})
	c.succeed(c.stop(s.ID).ID)
}
