// Package sim runs the control plane on a simulated fleet, for the figures in
// docs/SCALING.md: `make sim`.
package sim
