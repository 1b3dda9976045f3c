package cli

import (
	"fmt"
	"io"

	"berth/internal/doctor"
)

// Findings shows what berth doctor has found. A failure among them is
// ErrUnwell.
func (g *Globals) Findings(list []doctor.Finding) error {
	err := g.show(list, func(w io.Writer) {
		counts := map[string]int{}
		for _, f := range list {
			counts[f.Status]++
			fmt.Fprintf(w, "%-4s  %-14s  %s\n", f.Status, f.Check, f.Found)
			if f.Do != "" {
				fmt.Fprintf(w, "%22s  -> %s\n", "", f.Do)
			}
		}
		fmt.Fprintf(w, "%d ok, %d to look at, %d failed, %d not looked at\n", counts[doctor.OK], counts[doctor.Warn], counts[doctor.Fail], counts[doctor.Skip])
	})
	if err == nil && doctor.Failed(list) {
		err = ErrUnwell
	}
	return err
}
