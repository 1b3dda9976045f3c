package store

import (
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

// A search finds by text, node and function, sorts, and pages what it has
// found.
func TestSearch(t *testing.T) {
	t.Parallel()
	s := open(t, 64e9, 64<<30)
	made := map[string]string{} // name by ID
	for i, name := range []string{"Anna", "berta", "Carla"} {
		a := create()
		a.New.CreatedAt = a.New.CreatedAt.Add(time.Duration(i) * time.Second)
		a.New.S3 = ide.Bucket{Name: "courses", Prefix: "cs101/" + name}
		a.New.Labels = map[string]string{"team": "Team-" + name}
		made[admit(t, s, a).Container.ID] = name
	}
	for _, tc := range []struct {
		name   string
		filter Filter
		search Search
		want   string
		total  int
	}{
		{"nothing asked is the newest first", Filter{Limit: 10}, Search{}, "Carla berta Anna", 3},
		{"text in the folder, in capitals or not", Filter{Limit: 10}, Search{Text: "ANNA"}, "Anna", 1},
		{"text in a label", Filter{Limit: 10}, Search{Text: "team-b"}, "berta", 1},
		{"text that is nowhere", Filter{Limit: 10}, Search{Text: "x y"}, "", 0},
		{"another owner's", Filter{Limit: 10, Owner: "bob"}, Search{Text: "anna"}, "", 0},
		{"oldest first", Filter{Limit: 10}, Search{Sort: "created"}, "Anna berta Carla", 3},
		{"equal ones stay newest first", Filter{Limit: 10}, Search{Sort: "-cpu"}, "Carla berta Anna", 3},
		{"a page of it", Filter{Limit: 1, Offset: 1}, Search{Sort: "created"}, "berta", 3},
		{"a page behind the end", Filter{Limit: 10, Offset: 5}, Search{Sort: "created"}, "", 3},
		{"another node", Filter{Limit: 10}, Search{Node: "n2"}, "", 0},
		{"its node", Filter{Limit: 10}, Search{Node: "n1", Sort: "created"}, "Anna berta Carla", 3},
	} {
		list, total, err := s.SearchContainers(t.Context(), tc.filter, tc.search)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range list {
			names = append(names, made[c.ID])
		}
		if got := strings.Join(names, " "); got != tc.want || total != tc.total {
			t.Errorf("%s: got %q of %d, want %q of %d", tc.name, got, total, tc.want, tc.total)
		}
	}
	jobs, total, err := s.SearchJobs(t.Context(), Filter{Limit: 2}, Search{Function: "container-create"})
	if err != nil || len(jobs) != 2 || total != 3 {
		t.Errorf("jobs: got %d of %d, %v", len(jobs), total, err)
	}
	if jobs, total, err = s.SearchJobs(t.Context(), Filter{Limit: 2}, Search{Function: "container"}); err != nil || len(jobs) != 0 || total != 0 {
		t.Errorf("jobs of another function: got %d of %d, %v", len(jobs), total, err)
	}
}
