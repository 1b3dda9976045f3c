package ide

import "slices"

// SaveOutcome is what came of the save that a stop begins with.
type SaveOutcome string

// The outcomes.
const (
	SaveVerified   SaveOutcome = "verified"         // saved, and every object seen by the worker
	NothingToSave  SaveOutcome = "nothing to save"  // this run was never restored, and nothing older waits on the node
	KeptNowhere    SaveOutcome = "kept nowhere"     // the image has no agent, or the server keeps no workspaces
	GivenUp        SaveOutcome = "given up"         // force, or purge of one whose files are parked
	AgentGone      SaveOutcome = "agent gone"       // it does not answer, its node is up
	NodeDown       SaveOutcome = "node down"        // its node does not answer
	StoreFails     SaveOutcome = "store fails"      // S3 answers 5xx, nothing, or in a way that may pass
	StoreRefuses   SaveOutcome = "store refuses"    // S3 answers 403 or 404, or in another way that stays
	Overtaken      SaveOutcome = "overtaken"        // another writer has saved this workspace
	GenerationBad  SaveOutcome = "generation bad"   // the worker does not find what was saved
	FileUnreadable SaveOutcome = "local disk fails" // the files cannot be read where they are
	FilesLeftOut   SaveOutcome = "files left out"   // saved and verified without some files, which are on the volume only
)

// StopStep is what a stop does next.
type StopStep string

// The steps.
const (
	RemoveNext StopStep = "remove" // service, secret, volume
	SaverNext  StopStep = "saver"  // a task that only saves, on the node that has the volume
	RetryNext  StopStep = "retry"  // with growing pauses, until SAVE_DEADLINE
	AgainNext  StopStep = "again"  // the agent reads and sends everything anew
	ParkNext   StopStep = "park"   // WORKSPACE_UNSAVED: service at 0 replicas, volume kept, a sweep tries again
)

// StopRow is a row of the table of stops.
type StopRow struct {
	Outcome SaveOutcome
	Next    StopStep
	Late    StopStep // the same once SAVE_DEADLINE has passed, or when the step before it has not helped
	Loses   bool     // what was not saved before is lost, and the event says so
}

// StopTable says what each outcome leads to, for a stop by hand, for idleness,
// at the end of a lifetime and of a drain alike. docs/workspaces.md shows it.
var StopTable = []StopRow{
	{SaveVerified, RemoveNext, RemoveNext, false},
	{NothingToSave, RemoveNext, RemoveNext, false},
	{KeptNowhere, RemoveNext, RemoveNext, true},
	{GivenUp, RemoveNext, RemoveNext, true},
	{AgentGone, SaverNext, ParkNext, false},
	{NodeDown, RetryNext, ParkNext, false},
	{StoreFails, RetryNext, ParkNext, false},
	{StoreRefuses, ParkNext, ParkNext, false},
	{Overtaken, ParkNext, ParkNext, false},
	{GenerationBad, AgainNext, ParkNext, false},
	{FileUnreadable, ParkNext, ParkNext, false},
	{FilesLeftOut, ParkNext, ParkNext, false},
}

// AfterSave returns the row of an outcome. An outcome that is not in the table
// parks: what is not understood must not be removed.
func AfterSave(o SaveOutcome) StopRow {
	i := slices.IndexFunc(StopTable, func(r StopRow) bool { return r.Outcome == o })
	if i < 0 {
		return StopRow{Outcome: o, Next: ParkNext, Late: ParkNext}
	}
	return StopTable[i]
}
