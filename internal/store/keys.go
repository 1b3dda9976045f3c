package store

// Every key that Berth has in Redis. The hash tag keeps them in one slot; the
// scripts derive further keys from the prefix by these same forms. backup.go says
// of each whether a backup holds it.
//
//	c:<id>                hash    doc (JSON of ide.Container), rev, status, node
//	c:<id>:events         stream  the container's history, capped
//	c:<id>:jobs           set     its open jobs
//	c:<id>:log            stream  what its programs printed: t, n, c, s, l, m as in logs; capped in lines and bytes
//	cs, cs:s:<status>, cs:o:<owner>, cs:o:<owner>:s:<status>
//	                      zset    container IDs by creation; the status unsaved has those whose node holds what no bucket has
//	j:<id>                hash    doc (JSON of ide.Job), args, status, attempt, delivery, cancel, force, purge, failing, wish, due …
//	js, js:s:<status>, js:o:<owner>, js:o:<owner>:s:<status>
//	                      zset    job IDs by creation
//	j:due                 zset    open jobs by the time they ought to run
//	j:ended               zset    ended jobs by the time they ended
//	turn:<queue>:<owner>  set     its jobs that were delivered and have not begun, at most window
//	run:<queue>:<owner>   set     its jobs that run
//	wait:<queue>:<owner>  list    its jobs that are delivered when their turn comes, in the order of creation
//	j:open                hash    function:container -> its open job
//	j:seq                 hash    function:container -> number of its last job
//	lease:<target>        string  who works on it now
//	idem:<owner>:<key>    string  hash of the request, line feed, first answer
//	nodes                 hash    node ID -> JSON of ide.Node
//	nodes:down            set     node IDs of which it was told that they are down
//	nodes:high            hash    node ID -> "at resource text" of those above a high-water mark
//	nodes:failing         hash    node ID -> starts in a row that failed there and not on another
//	nodes:resting         hash    node ID -> until when nothing is put there, because of that (ms)
//	nodes:pressure        hash    node ID -> what it is short of, as last told, by commas
//	use:<node>            string  JSON of ide.NodeUse, for a day
//	use:<node>:c          hash    container ID -> JSON of ide.ContainerUse, of those on the node, for a day
//	past:n:<node>         string  history of a node's use, see history.go; for a day
//	past:c:<container>    string  the same of a container
//	addresses             string  JSON of ide.Addresses
//	nodes:known           set     node IDs of which something may be kept here
//	join                  string  sealed: what lets a machine join the Swarm; of some minutes
//	cap                   hash    node ID -> "cpu mem total-cpu total-mem at placeable"
//	res                   hash    container ID -> "node cpu mem run"
//	res:cpu, res:mem, res:n
//	                      hash    node ID -> sum of its reservations, and their number
//	res:gen               hash    container ID -> "node {kind: number}", JSON, of those that reserve other resources
//	places                zset    "bucket/prefix/", 0x01, ID of each container that has its workspace there; all of score 0
//	volumes:<node>        set     containers whose workspace volume on that node is to be removed
//	events                stream  everything that happened, capped
//	logs                  stream  lines of all containers and of the control plane: t (ns), n(ode), c(ontainer), s(ource), l(evel), m(essage); capped in lines and bytes
//	logs:at:<node>        hash    engine ID of a container there -> how far its log was read, "<ns> <lines of that instant>"
//	activity              hash    container ID -> "requests connections last web", of ide.Activity
//	schedules:last        hash    function -> its last instant that a job was opened for (ms)
//	schedules:paused      hash    function -> JSON of Pause
//	edges                 string  overlay addresses of the edges, by blanks
//	rate:{berth}:<who>    string  where a caller stands in its rate limit (redis_rate's)
//	keys                  hash    SHA-256 of an API key -> JSON of ide.Key
//	keys:names            hash    name of an API key -> its SHA-256
//	keys:used             hash    name of an API key -> when it was last used (ms)
//	session:<id>          hash    key (name of an API key), proof, expires (ms); id is the SHA-256 of the browser's token
//	workers               hash    worker ID -> JSON of ide.Worker
//	told:<what>           string  it was said once, and is not for 30 days
//	hooks, hooks:n:<owner>
//	                      set     webhook IDs: all, an owner's standing ones
//	hooks:all, hooks:o:<owner>, hooks:c:<container>
//	                      set     webhook IDs by what they hear of: everything, one owner's, one container
//	hooks:due, hooks:slow zset    webhook IDs by when their next delivery may begin; slow are those that failed last
//	hook:<id>             hash    doc (JSON of ide.Webhook), types, lane, claim, token, hold, failures, since, last, off, offat, dropped
//	hook:<id>:q           zset    deliveries that are not done, by when they are due
//	hook:<id>:log         zset    all deliveries that are kept, by when they happened
//	hook:<id>:d:<event>   hash    one delivery: doc (JSON of ide.Delivery), body, type, at, status
//	rebuilt               string  when the records were last known to be complete
//	restoring             string  a backup is being restored: no record is brought back yet
//	purged:<id>           string  the container was purged, within the last 30 days
//	tally                 hash    "kind function name bound" -> how often, see tally
const prefix = "{berth}:"

func containerKey(id string) string       { return prefix + "c:" + id }
func containerEventsKey(id string) string { return prefix + "c:" + id + ":events" }
func containerLogKey(id string) string    { return prefix + "c:" + id + ":log" }
func logCursorsKey(node string) string    { return prefix + "logs:at:" + node }
func jobKey(id string) string             { return prefix + "j:" + id }
func leaseKey(target string) string       { return prefix + "lease:" + target }
func idemKey(owner, key string) string    { return prefix + "idem:" + owner + ":" + key }

func hookKey(id string) string              { return prefix + "hook:" + id }
func hookQueueKey(id string) string         { return hookKey(id) + ":q" }
func hookLogKey(id string) string           { return hookKey(id) + ":log" }
func deliveryKey(hook, event string) string { return hookKey(hook) + ":d:" + event }
func standingKey(owner string) string       { return prefix + "hooks:n:" + owner }
func toldKey(what string) string            { return prefix + "told:" + what }
func purgedKey(id string) string            { return prefix + "purged:" + id }

func useKey(node string) string          { return prefix + "use:" + node }
func nodePastKey(node string) string     { return prefix + "past:n:" + node }
func containerPastKey(id string) string  { return prefix + "past:c:" + id }
func containerUseKey(node string) string { return useKey(node) + ":c" }
func sessionKey(id string) string        { return prefix + "session:" + id }

func volumesKey(node string) string { return prefix + "volumes:" + node }

const (
	dueKey        = prefix + "j:due"
	endedKey      = prefix + "j:ended"
	openKey       = prefix + "j:open"
	seqKey        = prefix + "j:seq"
	nodesKey      = prefix + "nodes"
	downKey       = prefix + "nodes:down"
	highKey       = prefix + "nodes:high"
	pressureKey   = prefix + "nodes:pressure"
	failingKey    = prefix + "nodes:failing"
	restingKey    = prefix + "nodes:resting"
	addressesKey  = prefix + "addresses"
	capKey        = prefix + "cap"
	resCPUKey     = prefix + "res:cpu"
	resMemoryKey  = prefix + "res:mem"
	resCountKey   = prefix + "res:n"
	resKey        = prefix + "res"
	resGenericKey = prefix + "res:gen"
	knownKey      = prefix + "nodes:known"
	joinKey       = prefix + "join"
	eventsKey     = prefix + "events"
	logsKey       = prefix + "logs"
	activityKey   = prefix + "activity"
	workersKey    = prefix + "workers"
	edgesKey      = prefix + "edges"
	instantsKey   = prefix + "schedules:last"
	pausedKey     = prefix + "schedules:paused"
	keysKey       = prefix + "keys"
	namesKey      = prefix + "keys:names"
	usedKey       = prefix + "keys:used"
	hooksKey      = prefix + "hooks"
	rebuiltKey    = prefix + "rebuilt"
	restoringKey  = prefix + "restoring"
	tallyKey      = prefix + "tally"
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
