package swarmtest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"
)

// message is what an engine keeps of a write of a container's program: a line,
// or a part of a long one.
type message struct {
	at     time.Time
	stream stdcopy.StdType
	text   string
}

// containerLog is what a container has printed. The server's mutex is its own.
type containerLog struct {
	messages []message
	ended    bool
	news     chan struct{} // closed when there is more, or the end
}

// partSize is where the engine cuts a long line.
const partSize = 16 << 10

// add takes what the program writes; as in Docker all parts of one line bear
// the time of the first.
func (l *containerLog) add(at time.Time, stream stdcopy.StdType, text string) {
	for line := range strings.Lines(text) {
		for len(line) > partSize {
			l.messages = append(l.messages, message{at, stream, line[:partSize]})
			line = line[partSize:]
		}
		l.messages = append(l.messages, message{at, stream, line})
	}
	l.tell()
}

func (l *containerLog) end() {
	l.ended = true
	l.tell()
}

func (l *containerLog) tell() {
	if l.news != nil {
		close(l.news)
		l.news = nil
	}
}

// after returns the messages from the i-th on, whether there will be more, and
// what is closed then.
func (l *containerLog) after(i int) (more []message, ended bool, news <-chan struct{}) {
	if l.news == nil {
		l.news = make(chan struct{})
	}
	return l.messages[i:], l.ended, l.news
}

// Print has the running container of a service write to stdout, or to stderr,
// at an instant. Lines end in line feeds.
func (s *Server) Print(service string, at time.Time, stderr bool, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.service(service)
	if x == nil {
		return
	}
	stream := stdcopy.Stdout
	if stderr {
		stream = stdcopy.Stderr
	}
	for _, t := range s.tasks {
		if t.ServiceID == x.ID && t.running {
			t.log.add(at, stream, text)
		}
	}
}

// listContainers lists the containers of this node, also those that ended.
func (s *Server) listContainers(c request) {
	list := []container.Summary{}
	for _, t := range sorted(s.here[c.node]) {
		labels := t.attributes(nil)
		if !matches(c.filters, t.container, "", labels) {
			continue
		}
		one := container.Summary{ID: t.container, Labels: labels, State: container.StateExited}
		if t.running {
			one.State = container.StateRunning
			one.NetworkSettings = &container.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{}}
			for _, a := range t.NetworksAttachments {
				one.NetworkSettings.Networks[a.Network.Spec.Name] = &network.EndpointSettings{IPAddress: t.address.Addr().String()}
			}
		}
		list = append(list, one)
	}
	reply(c.w, http.StatusOK, list)
}

// followLog serves a container's log with times, and its new messages until it
// has ended, the caller goes away or the engine does.
func (s *Server) followLog(w http.ResponseWriter, r *http.Request, node, id string) {
	since := instant(r.URL.Query().Get("since"))
	s.mu.Lock()
	down := s.down
	t := s.here[node][id]
	s.mu.Unlock()
	if t == nil {
		fail(w, http.StatusNotFound, "No such container: %s", id)
		return
	}
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	out.Flush()
	for i := 0; ; {
		s.mu.Lock()
		more, ended, news := t.log.after(i)
		s.mu.Unlock()
		for _, m := range more {
			i++
			if m.at.Before(since) {
				continue
			}
			// the engine's own form has nine digits always
			text := m.at.UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + m.text
			if _, err := io.WriteString(stdcopy.NewStdWriter(w, m.stream), text); err != nil {
				return
			}
		}
		out.Flush()
		if ended || r.URL.Query().Get("follow") == "" {
			return
		}
		select {
		case <-news:
		case <-r.Context().Done():
			return
		case <-down:
			panic(http.ErrAbortHandler) // cut off, not ended
		case <-s.done:
			return
		}
	}
}

// instant reads the engine's form of a time, seconds and nanoseconds since
// 1970.
func instant(text string) time.Time {
	seconds, rest, _ := strings.Cut(text, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}
	}
	nano, _ := strconv.ParseInt((rest + "000000000")[:9], 10, 64)
	return time.Unix(sec, nano)
}
