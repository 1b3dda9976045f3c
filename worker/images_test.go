package worker

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
)

// A node that joins is not placed on before it has the images of the others; one
// that was placed on stays so.
func TestNodeThatJoinsWaitsForItsImages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.worker(Config{})
	b.must(w.report(t.Context()))
	other := b.engine.AddNode("node-2", 2e9, 4<<30)
	lacks := ide.Worker{ID: "w2", Node: other, Engine: true, Missing: []string{"berth/ide:slim"}, At: time.Now()}
	missing := func() []string {
		t.Helper()
		b.must(w.report(t.Context()))
		nodes, err := b.st.Nodes(t.Context())
		b.must(err)
		i := slices.IndexFunc(nodes, func(n ide.Node) bool { return n.ID == other })
		return nodes[i].Missing
	}
	b.must(b.st.Report(t.Context(), lacks))
	if got := missing(); !slices.Equal(got, lacks.Missing) {
		t.Fatalf("it waits for %v", got)
	}
	if j := b.job("node-images:" + other + ":1"); j.Status != ide.JobQueued || j.Node != other {
		t.Errorf("its images are not asked for: %+v", j)
	}
	lacks.Missing = nil
	b.must(b.st.Report(t.Context(), lacks))
	if got := missing(); got != nil {
		t.Fatalf("with its images it waits for %v", got)
	}
	lacks.Missing = []string{"berth/ide:slim"}
	b.must(b.st.Report(t.Context(), lacks))
	if got := missing(); got != nil {
		t.Errorf("a node that took containers waits for %v", got)
	}
}

// An image is given to who has a ticket, and loaded by the other engine.
func TestImagesPassBetweenWorkers(t *testing.T) {
	t.Parallel()
	giver, taker := newBench(t), newBench(t)
	from := giver.worker(Config{})
	giver.must(from.report(t.Context()))
	srv := httptest.NewServer(from.imageHandler())
	t.Cleanup(srv.Close)
	for _, query := range []string{"", "?name=berth/ide:slim", "?name=berth/ide:slim&expires=99999999999"} {
		res, err := srv.Client().Get(srv.URL + "/image" + query)
		giver.must(err)
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden || len(text) > 0 {
			t.Errorf("%q without a ticket: got %d %q", query, res.StatusCode, text)
		}
	}
	taker.engine.Lack("berth/ide:slim")
	taker.must(taker.st.Report(t.Context(), ide.Worker{ID: "giver", Node: giver.engine.NodeID(), Engine: true, Address: srv.Listener.Addr().String(), At: time.Now()}))
	taker.run(Config{})
	taker.must(functions.AskImages(t.Context(), taker.deps, taker.engine.NodeID()))
	taker.until("it has the image", func() bool {
		has, err := taker.deps.Swarm.HasImage(t.Context(), "berth/ide:slim")
		return err == nil && has
	})
	taker.ends("node-images:"+taker.engine.NodeID()+":1", ide.JobSucceeded)
}
