package store

// Every key that Berth has in Redis. The hash tag keeps them in one slot; the
// scripts derive further keys from the prefix by these same forms.
//
//	c:<id>                hash    doc (JSON of ide.Container), rev, status, node
//	c:<id>:events         stream  the container's history, capped
//	c:<id>:jobs           set     its open jobs
//	cs, cs:s:<status>, cs:o:<owner>, cs:o:<owner>:s:<status>
//	                      zset    container IDs by creation
//	j:<id>                hash    doc (JSON of ide.Job), args, status, attempt, delivery, cancel, force, failing, due …
//	js, js:s:<status>, js:o:<owner>, js:o:<owner>:s:<status>
//	                      zset    job IDs by creation
//	j:due                 zset    open jobs by the time they ought to run
//	j:ended               zset    ended jobs by the time they ended
//	j:open                hash    function:container -> its open job
//	j:seq                 hash    function:container -> number of its last job
//	lease:<target>        string  who works on it now
//	idem:<owner>:<key>    string  hash of the request, line feed, first answer
//	nodes                 hash    node ID -> JSON of ide.Node
//	cap                   hash    node ID -> "cpu mem total-cpu total-mem at placeable"
//	res                   hash    container ID -> "node cpu mem run"
//	res:cpu, res:mem      hash    node ID -> sum of its reservations
//	events                stream  everything that happened, capped
//	activity              hash    container ID -> JSON of ide.Activity
//	edges                 string  overlay addresses of the edges, by blanks
//	rate:{berth}:<who>    string  where a caller stands in its rate limit (redis_rate's)
//	keys                  hash    SHA-256 of an API key -> JSON of ide.Key
//	keys:names            hash    name of an API key -> its SHA-256
//	keys:used             hash    name of an API key -> when it was last used (ms)
//	workers               hash    worker ID -> JSON of ide.Worker
const prefix = "{berth}:"

func containerKey(id string) string       { return prefix + "c:" + id }
func containerEventsKey(id string) string { return prefix + "c:" + id + ":events" }
func jobKey(id string) string             { return prefix + "j:" + id }
func leaseKey(target string) string       { return prefix + "lease:" + target }
func idemKey(owner, key string) string    { return prefix + "idem:" + owner + ":" + key }

const (
	dueKey      = prefix + "j:due"
	endedKey    = prefix + "j:ended"
	openKey     = prefix + "j:open"
	seqKey      = prefix + "j:seq"
	nodesKey    = prefix + "nodes"
	capKey      = prefix + "cap"
	resKey      = prefix + "res"
	eventsKey   = prefix + "events"
	activityKey = prefix + "activity"
	workersKey  = prefix + "workers"
	edgesKey    = prefix + "edges"
	keysKey     = prefix + "keys"
	namesKey    = prefix + "keys:names"
	usedKey     = prefix + "keys:used"
)

// indexKey is the zset of kind ("cs" or "js") that answers a filter.
func indexKey(kind, owner, status string) string {
	k := prefix + kind
	if owner != "" {
		k += ":o:" + owner
	}
	if status != "" {
		k += ":s:" + status
	}
	return k
}
