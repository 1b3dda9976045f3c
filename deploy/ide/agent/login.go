package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/ide"
)

const (
	sessionTime = 12 * time.Hour
	freeTries   = 3 // the last of them costs the first wait
	longestWait = 5 * time.Minute
	forgetAfter = 15 * time.Minute // since the last wrong try
	maxGuessers = 4096
	maxForm     = 64 << 10 // bytes of a login form
)

// door lets those into one port who know its password.
type door struct {
	a        *agent
	name     string // of the cookie: ports share cookies, so each has its own
	title    string
	password string
	key      []byte // of this process: a restart ends all sessions
	guesses  guesses
}

// guard puts a login in front of a port. /healthz stays open.
func (a *agent) guard(name, title, password string, inside http.Handler) http.Handler {
	d := &door{a: a, name: "berth_" + name, title: title, password: password, key: make([]byte, 32)}
	rand.Read(d.key)
	d.guesses.of = map[string]guess{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+healthPath, alive)
	mux.HandleFunc("GET /login", d.form)
	mux.HandleFunc("POST /login", d.login)
	mux.HandleFunc("POST /logout", d.logout)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case d.knows(r):
			inside.ServeHTTP(w, r)
		case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Redirect(w, r, "/login?"+url.Values{"next": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		default:
			writeError(w, http.StatusUnauthorized, ide.AuthenticationFailed, "Log in first.")
		}
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

func (d *door) form(w http.ResponseWriter, r *http.Request) {
	d.show(w, http.StatusOK, next(r.URL.Query().Get("next")), "")
}

func (d *door) show(w http.ResponseWriter, status int, next, message string) {
	d.a.render(w, status, "login.html", view{Title: d.title, Message: message, Data: next})
}

func (d *door) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	to, now, who := next(r.FormValue("next")), d.a.now(), client(r)
	if wait := d.guesses.try(who, now); wait > 0 {
		d.refuse(w, to, wait)
		return
	}
	if !same(r.FormValue("password"), d.password) {
		d.a.log.Warn("wrong password", "container", d.a.cfg.ID, "cookie", d.name, "client", who)
		d.show(w, http.StatusUnauthorized, to, "That is not the password.")
		return
	}
	d.guesses.right(who)
	http.SetCookie(w, d.cookie(r, d.session(now.Add(sessionTime)), int(sessionTime.Seconds())))
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (d *door) refuse(w http.ResponseWriter, to string, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(wholeSeconds(wait)))
	d.show(w, http.StatusTooManyRequests, to, tooMany(wait))
}

func (d *door) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, d.cookie(r, "", -1))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (d *door) cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: d.name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.Header.Get("X-Forwarded-Proto") == "https",
	}
}

// session is the time until which a cookie is good, and its seal.
func (d *door) session(until time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, d.seal(b)...))
}

func (d *door) seal(b []byte) []byte {
	m := hmac.New(sha256.New, d.key)
	m.Write(b)
	return m.Sum(nil)
}

// knows says whether a request carries a session.
func (d *door) knows(r *http.Request) bool {
	c, err := r.Cookie(d.name)
	if err != nil {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || len(b) != 8+sha256.Size || !hmac.Equal(b[8:], d.seal(b[:8])) {
		return false
	}
	return d.a.now().Unix() < int64(binary.BigEndian.Uint64(b))
}

// next keeps a redirect on this host: a path, and not one that a browser takes
// for another host's.
func next(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.Contains(s, "\\") {
		return "/"
	}
	return s
}

// client is who asks: the first address in X-Forwarded-For, else the peer. The
// peer is an edge, and an edge replaces what strangers say in that header; a
// container is reached by edges alone.
func client(r *http.Request) string {
	if first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ","); first != "" {
		return strings.TrimSpace(first)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// guesses counts wrong passwords by client.
type guesses struct {
	mu sync.Mutex
	of map[string]guess
}

type guess struct {
	n     int
	last  time.Time
	until time.Time // no try before
}

// try counts a try as wrong before the password is looked at, so that tries at
// the same time do not all pass; right takes it back. A client that has to wait
// is told how long, and nothing is counted: no wait for the first tries, then
// 1 s, doubled each time.
func (g *guesses) try(who string, now time.Time) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.of[who]
	if wait := one.until.Sub(now); wait > 0 {
		return wait
	}
	if now.Sub(one.last) > forgetAfter {
		one = guess{}
	}
	one.n++
	one.last = now
	if over := one.n - freeTries; over >= 0 {
		one.until = now.Add(min(time.Second<<min(over, 20), longestWait))
	}
	if _, known := g.of[who]; !known && len(g.of) >= maxGuessers {
		g.drop()
	}
	g.of[who] = one
	return 0
}

// drop forgets the client that tried longest ago.
func (g *guesses) drop() {
	var oldest string
	for who, one := range g.of {
		if oldest == "" || one.last.Before(g.of[oldest].last) {
			oldest = who
		}
	}
	delete(g.of, oldest)
}

func (g *guesses) right(who string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.of, who)
}

// wholeSeconds rounds a wait up.
func wholeSeconds(wait time.Duration) int { return int((wait + time.Second - 1) / time.Second) }

// tooMany says when the next try is allowed.
func tooMany(wait time.Duration) string {
	return fmt.Sprintf("Too many wrong passwords. Try again in %d s.", wholeSeconds(wait))
}
