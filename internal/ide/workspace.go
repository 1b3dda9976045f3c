package ide

import "time"

// Place is where a workspace is kept, and how: all that an agent is told of
// it but the credentials.
type Place struct {
	Endpoint   string `json:"endpoint,omitempty"` // URL of the store; empty is AWS
	Region     string `json:"region,omitempty"`
	Bucket     string `json:"bucket"`
	Prefix     string `json:"prefix,omitempty"`
	PathStyle  bool   `json:"pathStyle,omitempty"`
	CA         string `json:"ca,omitempty"`         // PEM certificates trusted beside the system's
	Encryption string `json:"encryption,omitempty"` // AES256 or aws:kms; empty is the bucket's own setting
	KMSKey     string `json:"kmsKey,omitempty"`

	SingleWriter    bool `json:"singleWriter,omitempty"` // the store has no conditional writes
	NoMirror        bool `json:"noMirror,omitempty"`     // no plain files for other programs
	KeepGenerations int  `json:"keepGenerations,omitempty"`

	// Claim: a writer that was cut off may come back. The restored files are made
	// a generation at once, so that it finds the next number taken.
	Claim bool `json:"claim,omitempty"`
	// Writer names the run, and Unsaved says that the volume holds files of an
	// earlier one that are in no generation.
	Writer   string `json:"writer,omitempty"`
	Unsaved  bool   `json:"unsaved,omitempty"`
	Interval int    `json:"interval"` // seconds between two saves
	// Role: the credentials are short-lived, and come through the agent's port.
	Role bool `json:"role,omitempty"`
}

// S3Credentials of a store. Token and Until are set for short-lived ones.
type S3Credentials struct {
	AccessKey string    `json:"accessKey"`
	SecretKey string    `json:"secretKey"`
	Token     string    `json:"token,omitempty"`
	Until     time.Time `json:"until,omitzero"`
}

// LastSave is a save that has succeeded: all its objects are in the bucket.
type LastSave struct {
	Generation   int64     `json:"generation" doc:"Number of the generation in the bucket; 0 is an empty workspace that was never saved" example:"17"`
	At           time.Time `json:"at" doc:"When the save began"`
	Files        int       `json:"files" doc:"Files in the workspace" example:"2003"`
	Bytes        int64     `json:"bytes" doc:"Their bytes" example:"104857600"`
	Seconds      float64   `json:"seconds" doc:"How long the save took" example:"2.9"`
	Verified     bool      `json:"verified" doc:"The control plane has seen every object of it with its own client"`
	LeftOut      int       `json:"leftOut,omitempty" doc:"Files, folders and links that are not in it, or not in their newest state: their bytes are on the volume only, which a stop keeps. An event names them" example:"1"`
	Ignored      int       `json:"ignored,omitempty" doc:"Paths that .berthignore names and that are not in it; a folder counts once" example:"2"`
	IgnoredBytes int64     `json:"ignoredBytes,omitempty" doc:"Their bytes, counted by the last save of a stop" example:"734003200"`
	Recovered    int       `json:"recovered,omitempty" doc:"Files in berth-recovered, which gave way to newer ones when the workspace was restored" example:"3"`
	Error        *Failure  `json:"error,omitempty" doc:"Why saves after it have failed"`
}

// Failure is an error as it travels between processes: Permanent with it.
type Failure struct {
	Code      Code      `json:"code" example:"INVALID_S3_BUCKET" doc:"The error's name, for programs"`
	Message   string    `json:"message" example:"The bucket cannot be written to." doc:"One sentence, for people"`
	Permanent bool      `json:"permanent,omitempty" doc:"Trying again cannot help"`
	At        time.Time `json:"at" doc:"When it was last seen"`
}

// FailureOf makes a Failure of an error.
func FailureOf(err error, at time.Time) *Failure {
	e := AsError(err)
	return &Failure{Code: e.Code, Message: e.Message, Permanent: e.Permanent, At: at}
}

// Err makes an error of a Failure.
func (f *Failure) Err() error {
	return &Error{Code: f.Code, Message: f.Message, Permanent: f.Permanent}
}

// WorkspaceStatus is what an agent says of the workspace.
type WorkspaceStatus struct {
	Kept     bool      `json:"kept"`               // it is kept in a bucket
	Restored bool      `json:"restored"`           // and what is there can be edited and saved
	Nothing  bool      `json:"nothing,omitempty"`  // of a saver: no restore was ever finished here, so there is nothing to save
	Lost     bool      `json:"lost,omitempty"`     // another writer has gone on: this one saves no more
	Error    *Failure  `json:"error,omitempty"`    // why it cannot be restored; tried again unless it is permanent
	Moved    *Moved    `json:"moved,omitempty"`    // how far a restore is
	Restore  *Restored `json:"restore,omitempty"`  // what it has done
	Dirty    int       `json:"dirty"`              // paths that were touched since the last save began
	Saving   bool      `json:"saving"`             // a save is under way
	Done     int64     `json:"done"`               // the highest number of an ask for a save that was answered
	LastSave *LastSave `json:"lastSave,omitempty"` //
	LeftOut  []string  `json:"leftOut,omitempty"`  // of the last save: what is on the volume only, in words
	Notes    []string  `json:"notes,omitempty"`    // of the last save: what else is to be said, in words
	Finished bool      `json:"finished,omitempty"` // programs have ended, and the quiet tree is saved
	Finish   *Failure  `json:"finish,omitempty"`   // why the last try to finish failed
	Tries    int64     `json:"tries,omitempty"`    // tries to finish that have ended
}

// Moved is how far a restore is.
type Moved struct {
	Files      int   `json:"files"`
	TotalFiles int   `json:"totalFiles"`
	Bytes      int64 `json:"bytes"`
	TotalBytes int64 `json:"totalBytes"`
}

// Restored is what a restore has done.
type Restored struct {
	Generation     int64    `json:"generation" doc:"0 is a place that held nothing of Berth's"`
	Files          int      `json:"files"`
	Bytes          int64    `json:"bytes"`
	Seconds        float64  `json:"seconds"`
	Local          bool     `json:"local,omitempty" doc:"The files were on the node already, perhaps newer than the bucket's"`
	Outside        []string `json:"outside,omitempty" doc:"Plain files that another program has changed in the bucket; its version is in the workspace"`
	Overruled      []string `json:"overruled,omitempty" doc:"The same, where the workspace's own change has won"`
	Recovered      string   `json:"recovered,omitempty" doc:"Folder of the workspace with the files that gave way to newer ones; they are saved as all others"`
	RecoveredFiles int      `json:"recoveredFiles,omitempty" doc:"How many; a folder counts once"`
	Doubted        bool     `json:"doubted,omitempty" doc:"The files were on the node already, and it was not known which saves they hold: all are compared with the last one"`
	BroughtBack    int      `json:"broughtBack,omitempty" doc:"With doubted: files of the last save that were not on the node"`
	Skipped        []string `json:"skipped,omitempty" doc:"What is in the bucket and cannot be a file here, with the reason"`
}

// Agent is the control plane's side of an agent's port: paths and bodies.
const (
	AgentStatusPath      = "/_berth/status"      // GET: its own status, with a WorkspaceStatus in "workspace"
	AgentSavePath        = "/_berth/save"        // POST: Asked
	AgentFinishPath      = "/_berth/finish"      // POST: Asked; saves, ends all programs, and saves the quiet tree
	AgentCredentialsPath = "/_berth/credentials" // POST S3Credentials: 204
	AgentOpenPath        = "/_berth/open"        // POST: 204; the node is filtered: begin, and let users in
)

// Asked is the answer to a request for a save: it is done once
// WorkspaceStatus.Done (or Tries, for a finish) is at least Number.
type Asked struct {
	Number int64 `json:"number"`
}

// AgentConfig is the text of the Swarm secret <id>-<run>, as the agent finds it.
type AgentConfig struct {
	Secrets
	Place *Place `json:"place,omitempty"` // nil: the workspace is kept nowhere
	Probe string `json:"probe,omitempty"` // value of ProbeHeader that marks the control plane's own requests
}

// ModeVariable is the environment variable that tells an agent what it is for.
const (
	ModeVariable  = "BERTH_MODE"
	ModeSave      = "save"             // it brings nothing and starts nothing: it saves what an earlier one has left
	GraceVariable = "BERTH_STOP_GRACE" // seconds between SIGTERM and SIGKILL
	// GuardedVariable, "true", has an agent run nothing of the user's, and let
	// nobody in, before it was asked to open (AgentOpenPath).
	GuardedVariable = "BERTH_GUARDED"
	// HomeDir is where a container's volume is mounted. WorkspaceDir is the folder in
	// it that is saved.
	HomeDir      = "/home/ide"
	WorkspaceDir = HomeDir + "/workspace"
)
