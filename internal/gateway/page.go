package gateway

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"
)

// Codes of the edge alone.
const (
	NotRunning  ide.Code = "CONTAINER_NOT_RUNNING"
	Unreachable ide.Code = "CONTAINER_UNREACHABLE"
)

// reply is an answer of the gateway's own, as a page for people and as the
// error envelope for programs.
type reply struct {
	status  int
	code    ide.Code
	title   string
	message string
	retry   int  // seconds, for Retry-After; 0 is none
	refresh bool // the page asks again by itself after retry
}

var (
	notFound = reply{http.StatusNotFound, ide.ContainerNotFound, "Nothing here",
		"There is no container at this address. It may have been removed, or the address may be mistyped.", 0, false}
	methodRefused = reply{http.StatusMethodNotAllowed, ide.MethodNotAllowed, "Not a proxy",
		"This server forwards to its own containers only.", 0, false}
	notLoaded = reply{http.StatusServiceUnavailable, NotRunning, "One moment",
		"This server has just started and does not know its containers yet.", 2, true}
	starting = reply{http.StatusServiceUnavailable, NotRunning, "Starting",
		"The container is starting. This page opens it as soon as it is ready.", 2, true}
	unreachable = reply{http.StatusBadGateway, Unreachable, "No answer",
		"The container is running but does not answer at the moment.", 2, false}
)

// notRunning is the reply for a container in a state that a visit does not end.
func notRunning(s ide.Status) reply {
	message := map[ide.Status]string{
		ide.Stopping: "The container is stopping.",
		ide.Stopped:  "The container is stopped. It can be started again.",
		ide.Failed:   "The container has failed. Its page in the dashboard says why.",
	}[s]
	return reply{http.StatusServiceUnavailable, NotRunning, "Not running", message, 30, false}
}

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string

	page = template.Must(template.New("page").Parse(pageText))
	// The style stands in the page, and the policy names it by its hash: the
	// page needs no second request, and nothing that got into it would load.
	pagePolicy = func() string {
		sum := sha256.Sum256([]byte(pageStyle))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'"
	}()
)

// answer writes a reply.
func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, a reply) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept")
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retry))
	}
	if prefersJSON(r.Header.Values("Accept")) {
		h.Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		json.NewEncoder(w).Encode(map[string]any{
			"error":     map[string]any{"code": a.code, "message": a.message},
			"timestamp": g.now().UTC().Format(time.RFC3339Nano),
			"path":      r.URL.Path,
		})
		return
	}
	if a.refresh {
		h.Set("Refresh", strconv.Itoa(a.retry))
	}
	id, _, _ := g.parse(r.Host)
	if a.status == http.StatusNotFound {
		id = "" // what does not exist has no name worth repeating
	}
	var b bytes.Buffer
	err := page.Execute(&b, map[string]any{
		"Style": template.CSS(pageStyle), "Title": a.title, "Message": a.message, "ID": id, "Status": a.status, "Wait": a.refresh,
	})
	if err != nil {
		panic(err) // the template and its data are ours: a test has run both
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(a.status)
	w.Write(b.Bytes())
}

// prefersJSON says whether an Accept header ranks JSON above HTML. At equal
// quality the one that is named wins over one that a wildcard lets in; a mere
// */* gets the page.
func prefersJSON(accept []string) bool {
	jq, js := quality(accept, "application", "json")
	hq, hs := quality(accept, "text", "html")
	return jq > hq || jq == hq && jq > 0 && js > hs
}

// quality returns the quality (0 to 1) that Accept gives a media type, and how
// exactly the range that says so names it: 2 the type, 1 its family, 0 any.
func quality(accept []string, family, kind string) (q float64, exact int) {
	exact = -1
	for _, field := range accept {
		for item := range strings.SplitSeq(field, ",") {
			media, params, _ := strings.Cut(item, ";")
			e := -1
			switch strings.ToLower(strings.TrimSpace(media)) {
			case family + "/" + kind:
				e = 2
			case family + "/*":
				e = 1
			case "*/*":
				e = 0
			}
			if e <= exact {
				continue
			}
			exact, q = e, 1
			for p := range strings.SplitSeq(params, ";") {
				if v, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
					q, _ = strconv.ParseFloat(v, 64)
				}
			}
		}
	}
	return q, exact
}
