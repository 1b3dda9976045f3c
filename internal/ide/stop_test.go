package ide

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/workspaces.md shows the table of stops as it is.
func TestStopTableIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/workspaces.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, r := range StopTable {
		loses := "no"
		if r.Loses {
			loses = "yes"
		}
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", r.Outcome, r.Next, r.Late, loses)
	}
	if !strings.Contains(string(text), "|---|---|---|---|\n"+want.String()+"\n") {
		t.Errorf("docs/workspaces.md lacks this table:\n%s", want.String())
	}
}

// What is not in the table must not be removed.
func TestUnknownOutcomeParks(t *testing.T) {
	t.Parallel()
	if got := AfterSave("something new"); got.Next != ParkNext || got.Late != ParkNext || got.Loses {
		t.Errorf("got %+v, want it parked", got)
	}
}
