// Command vulncheck judges what govulncheck has found (its -format json, on the
// standard input): it fails on every known vulnerability whose code is called,
// except those that are accepted here with a reason, and on an acceptance that
// nothing needs any more.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
)

// accepted says why one does not concern us.
var accepted = map[string]string{
	"GO-2026-4883": "in the daemon's check of plugins; of this module only the client is used, and no fixed version is published",
	"GO-2026-4887": "in the daemon's authorization plugins; of this module only the client is used, and no fixed version is published",
}

func main() {
	log.SetFlags(0)
	if err := judge(os.Stdin, os.Stdout, accepted); err != nil {
		log.Fatal("vulncheck: ", err)
	}
}

// message is the part of govulncheck's messages that matters
// (golang.org/x/vuln/internal/govulncheck, Message).
type message struct {
	Config *struct {
		GoVersion string `json:"go_version"`
	} `json:"config"`
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *struct {
		OSV          string `json:"osv"`
		FixedVersion string `json:"fixed_version"`
		Trace        []struct {
			Module   string `json:"module"`
			Function string `json:"function"`
		} `json:"trace"`
	} `json:"finding"`
}

func judge(in io.Reader, out io.Writer, accepted map[string]string) error {
	summaries, called, scanned := map[string]string{}, map[string]string{}, false
	for d := json.NewDecoder(in); ; {
		var m message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read findings: %w", err)
		}
		switch {
		case m.Config != nil:
			scanned = true
			fmt.Fprintln(out, "built with", m.Config.GoVersion)
		case m.OSV != nil:
			summaries[m.OSV.ID] = m.OSV.Summary
		case m.Finding != nil && len(m.Finding.Trace) > 0 && m.Finding.Trace[0].Function != "":
			fix := "no fix is published"
			if m.Finding.FixedVersion != "" {
				fix = "fixed in " + m.Finding.FixedVersion
			}
			called[m.Finding.OSV] = m.Finding.Trace[0].Module + ", " + fix
		}
	}
	if !scanned {
		return errors.New("govulncheck has said nothing")
	}
	bad := 0
	for _, id := range slices.Sorted(maps.Keys(called)) {
		if why, ok := accepted[id]; ok {
			fmt.Fprintf(out, "accepted  %s  %s: %s\n", id, summaries[id], why)
			continue
		}
		bad++
		fmt.Fprintf(out, "FOUND     %s  %s (%s) https://pkg.go.dev/vuln/%s\n", id, summaries[id], called[id], id)
	}
	for _, id := range slices.Sorted(maps.Keys(accepted)) {
		if _, ok := called[id]; !ok {
			bad++
			fmt.Fprintf(out, "STALE     %s  is accepted, and not found any more: take it out of deploy/vulncheck\n", id)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d to see to", bad)
	}
	return nil
}
