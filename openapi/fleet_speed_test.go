package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

// BenchmarkOverview is what a dashboard shows of 100 nodes with 10,000 running
// containers, each of which has reported. The goal is a p99 of at most 50 ms.
func BenchmarkOverview(b *testing.B) {
	const many, each = 100, 100
	api, st, _ := speed(b)
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/api/dashboard/"+path, nil)
		r.Header.Set("Authorization", "Bearer "+viewKey)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return w
	}
	ctx, now := b.Context(), time.Now().UTC()
	nodes := make([]ide.Node, many)
	for i := range nodes {
		nodes[i] = ide.Node{ID: fmt.Sprintf("n%024d", i), Hostname: fmt.Sprintf("node-%03d", i), Address: "192.0.2.1", Role: "worker", Engine: "28.3.0", CPU: 64e9, Memory: 256 << 30,
			State: "ready", Availability: "active", Filtered: true, At: now}
	}
	must(st.PublishNodes(ctx, nodes))
	must(st.PublishAddresses(ctx, ide.Addresses{Total: 65533, Free: 55000, At: now}))
	for range many * each {
		out, err := st.Admit(ctx, store.Admission{Function: "container-create", MaxAttempts: 1, By: alice, Args: struct{}{}, Reserve: true,
			New: &ide.Container{ID: ide.NewID(), Run: 1, Owner: "alice", Status: ide.Starting, Image: "ide:1", CreatedAt: now, URLs: ide.MakeURLs("https", "k3xqh5zt2mwfa", "ide.test"),
				S3:        ide.Bucket{Name: "workspace", Region: "us-east-1"},
				Resources: ide.Resources{CPULimit: 2e9, MemoryLimit: 4 << 30, CPUReservation: 25e7, MemoryReservation: 512 << 20}}})
		must(err)
		_, err = st.Move(ctx, out.Container.ID, 1, ide.Running, "bench", "", func(c *ide.Container) { c.Node = out.Container.Node })
		must(err)
	}
	all, _, err := st.Containers(ctx, store.Filter{Limit: many * each})
	must(err)
	on := map[string]map[string]ide.ContainerUse{}
	for _, c := range all {
		if on[c.Node] == nil {
			on[c.Node] = map[string]ide.ContainerUse{}
		}
		on[c.Node][c.ID] = ide.ContainerUse{At: now.Add(time.Hour), Run: 1, CPU: 12.3, Cores: 0.25, Memory: 1 << 30, Percent: 25, NetIn: 1e5, NetOut: 1e5, PIDs: 80}
	}
	for _, n := range nodes {
		u := ide.NodeUse{At: now.Add(time.Hour), Storage: "overlay2", Cores: 64, CPU: 20, Memory: 100 << 30, MemoryTotal: 256 << 30, Disk: 1 << 40, DiskTotal: 2 << 40,
			Stall: &ide.Stall{CPU: 1}, Containers: each}
		for id, c := range on[n.ID] {
			if len(u.Busiest) < 20 {
				u.Busiest = append(u.Busiest, ide.Busy{Container: id, Cores: c.Cores, Memory: c.Memory})
			}
		}
		must(st.ReportUse(ctx, n, u))
		must(st.ReportContainers(ctx, n.ID, on[n.ID]))
	}
	for _, path := range []string{"overview", "nodes"} {
		b.Run(path, func(b *testing.B) {
			var took []time.Duration
			size := 0
			for b.Loop() {
				at := time.Now()
				w := get(path)
				took = append(took, time.Since(at))
				size = w.Body.Len()
				if w.Code != http.StatusOK || strings.Count(w.Body.String(), `"hostname":`) != many {
					b.Fatalf("got %d %.300s", w.Code, w.Body)
				}
			}
			percentile(b, took, 0.5, "p50-ms")
			percentile(b, took, 0.99, "p99-ms")
			b.ReportMetric(float64(size)/1024, "KiB")
		})
	}
	var o Overview
	if err := json.Unmarshal(get("overview").Body.Bytes(), &o); err != nil || o.Containers.Running != many*each || len(o.Active) != 20 || o.NodeCounts.Stale != 0 {
		b.Errorf("%v: %+v %+v, %d active", err, o.Containers, o.NodeCounts, len(o.Active))
	}
}
