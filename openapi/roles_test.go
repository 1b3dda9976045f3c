package openapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
)

// Every operation is in the table of roles, and is refused to those that the
// table gives nothing, and to nobody else.
func TestRolesAreAsInTheTable(t *testing.T) {
	t.Parallel()
	w := walk{fleetBench(t), Document("v9")}
	callers := map[ide.Role]string{ide.Admin: rootKey, ide.Client: aliceKey, ide.Viewer: viewKey}
	left := maps.Clone(roles)
	each(w.doc, func(op *huma.Operation) {
		if len(op.Security) == 0 {
			return
		}
		g, ok := roles[op.OperationID]
		if !ok {
			t.Errorf("%s is in no row of the table of roles", op.OperationID)
		}
		delete(left, op.OperationID)
		for role, key := range callers {
			want := g.of(role) == nothing
			if refused := mayAsk(op, ide.Principal{Name: "x", Role: role}) != nil; refused != want {
				t.Errorf("%s for a %s: refused %t, want %t", op.OperationID, role, refused, want)
			}
			if streams(op) && !want || op.OperationID == "run-schedule" && !want {
				continue // it would go on, or work
			}
			r := w.good(op)
			rec := w.call(key, op.Method, r.target(), r.text(t))
			if refused := rec.Code == http.StatusForbidden; refused != want {
				t.Errorf("%s for a %s: got %d %s, want refused %t", op.OperationID, role, rec.Code, rec.Body, want)
			}
		}
	})
	if len(left) > 0 {
		t.Errorf("the table of roles has %v, which are no operations", slices.Sorted(maps.Keys(left)))
	}
}

// A viewer sees what an admin sees, but for secrets.
func TestViewerSeesAll(t *testing.T) {
	t.Parallel()
	b := fleetBench(t)
	for _, target := range []string{"/api/nodes/node-1", "/api/nodes/n1/usage", "/api/schedules", "/api/schedules/idle-sweep", "/api/keys"} {
		b.get(viewKey, target, new(any))
		b.refused(b.call(aliceKey, "GET", target, ""), http.StatusForbidden, ide.Forbidden, target)
	}
	if w := b.call(viewKey, "GET", "/api/keys", ""); strings.Contains(w.Body.String(), "digest") || strings.Contains(w.Body.String(), rootKey) {
		t.Errorf("a viewer is shown %s", w.Body)
	}
	b.refused(b.call(viewKey, "GET", "/api/nodes/join-token", ""), http.StatusForbidden, ide.Forbidden, "/api/nodes/join-token")
}
