// A server that speaks as much of the API as the pages ask for, with as many containers and events as wished: what the
// bench and the screenshots of rare states look at. What is right is tested against the real thing (flows.spec.ts).
import { readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

const dist = fileURLToPath(new URL('../../dist', import.meta.url))
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' }
export const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const GiB = 2 ** 30
const letters = 'abcdefghijklmnopqrstuvwxyz234567'
const pick = (from, n) => from[n % from.length]
const idOf = (n) => Array.from({ length: 13 }, (_, i) => letters[(n * 7919 + i * 31 + Math.floor(n / 32 ** (i % 3))) % 32]).join('').slice(0, 8) + n.toString(36).padStart(5, 'a')
const ago = (s) => new Date(Date.now() - s * 1000).toISOString()

/** makeFleet makes nodes, containers, jobs; options say how many, and what is odd about them. */
export function makeFleet({ containers = 48, nodes = 3, role = 'admin', long = false, failing = [] } = {}) {
  const f = { role, failing, nodes: [], containers: new Map(), jobs: new Map(), order: [], paused: false }
  for (let i = 0; i < nodes; i++) {
    const down = nodes > 2 && i === nodes - 1
    f.nodes.push({
      id: `x8vlm0vmpo1jg5yk4zo2dg${String(i).padStart(3, '0')}`,
      hostname: `node-${i + 1}`,
      address: `192.0.2.${11 + i}`,
      role: i < 3 ? (i === 0 ? 'manager' : 'worker') : 'worker',
      state: 'ready',
      availability: 'active',
      engine: '28.3.0',
      storageDriver: 'overlay2',
      labels: i === 1 ? { gpu: 'true', zone: 'b' } : {},
      stale: down,
      isolated: true,
      placeable: !down,
      cpu: { used: 2.4 + i, reserved: 4 + i, total: 16, percent: 15 + i * 6 },
      memory: { used: (14 + 6 * i) * GiB, reserved: (18 + 3 * i) * GiB, total: 64 * GiB, percent: 22 + i * 9 },
      disk: { used: (180 + i * 120) * GiB, reserved: 0, total: 500 * GiB, percent: 36 + i * 24 },
      freeCpu: 11.5 - i,
      freeMemory: (44 - 3 * i) * GiB,
      load: [2.1, 1.8, 1.5],
      network: { in: 125_000, out: 48_000 },
      stall: { cpu: 1.5, memory: 0, io: 0.4 },
      above: i === 1 ? [{ resource: 'memory', percent: 91, mark: 90, since: ago(400) }] : [],
      containers: Math.ceil(containers / nodes),
      running: Math.ceil((containers / nodes) * 0.8),
      freeAddresses: 65_100,
      lastReport: ago(down ? 95 : 3),
    })
  }
  for (let i = 0; i < containers; i++) add(f, i, long)
  for (let i = 0; i < Math.min(containers, 40); i++) addJob(f, [...f.containers.values()][i], i, long)
  return f
}

function add(f, i, long) {
  const id = idOf(i)
  const status = i % 17 === 5 ? 'failed' : i % 7 === 3 ? 'stopped' : i % 23 === 1 ? 'starting' : i % 29 === 2 ? 'stopping' : 'running'
  const up = status === 'running' || status === 'stopping'
  const url = (what) => `https://${id}-${what}.ide.example.com`
  const c = {
    id,
    serviceName: `berth-${id}`,
    status,
    urls: { codeServer: url('code'), vnc: url('vnc'), webServer: url('web') },
    s3Bucket: long && i < 3 ? 'a-bucket-whose-name-has-all-of-the-sixty-three-characters-ok-123' : pick(['course-1', 'research', 'alice-workspace', 'ml-lab'], i),
    s3Prefix: long && i < 3 ? undefined : `${pick(['alice', 'bob', 'carol', 'dave', 'erin', 'frank'], i)}/${pick(['thesis', 'web', 'api', 'notebooks'], i * 3)}`,
    s3Region: 'us-east-1',
    image: 'registry.example.com/ide:3',
    template: pick(['python', 'node', 'default'], i),
    owner: long && i < 3 ? 'an-owner-with-a-name-of-exactly-sixty-three-characters-yes-63x' : pick(['course-1', 'course-2', 'research', 'admin'], i * 5),
    node: status === 'stopped' ? undefined : pick(f.nodes, i).id,
    resourceLimits: { cpuLimit: '2', memoryLimit: '4GiB' },
    createdAt: ago(600 + i * 137),
    startedAt: up ? ago(500 + i * 97) : undefined,
    stoppedAt: status === 'stopped' ? ago(300) : undefined,
    shutdownReason: status === 'stopped' ? pick(['inactivity', 'manual'], i) : status === 'failed' ? 'error' : undefined,
    error: status === 'failed' ? { code: 'CONTAINER_START_FAILED', message: long && i < 40 ? `The image does not start: ${'the log of the program goes on and on, '.repeat(100)}` : 'The bucket course-1 cannot be written to: access is denied.' } : undefined,
    unsaved: i % 31 === 5 || undefined,
    uptime: up ? 500 + i * 97 : undefined,
    health: up ? { status: i % 19 === 4 ? 'unhealthy' : 'healthy', lastCheck: ago(8), checks: { codeServer: i % 19 !== 4, vnc: true, webServer: i % 2 === 0 } } : undefined,
    idle: up ? { timeout: 1800, lastActivity: ago(30 + i * 13), source: pick(['editor', 'desktop', 'web'], i), signal: 'agent', stopsAt: new Date(Date.now() + 1_500_000 - i * 1000).toISOString() } : undefined,
    lastSave: { generation: 17, at: ago(90 + i), files: 2003, bytes: 104_857_600, seconds: 2.9, verified: true },
    resourceUsage: up ? usage(i) : undefined,
    labels: i % 5 === 0 ? { course: 'cs101' } : undefined,
    job: `container-create:${id}:1`,
  }
  f.containers.set(id, c)
  f.order.push(id)
}

const usage = (i) => ({ at: ago(2), cpu: (i * 13) % 97, cores: ((i * 13) % 97) / 50, memory: ((i * 53) % 4000) * 2 ** 20, memoryPercent: ((i * 53) % 4000) / 41, network: { in: 1000, out: 400 }, blockRead: 0, blockWrite: 8192, pids: 48, restarts: 0 })

function addJob(f, c, i, long) {
  const failed = c.status === 'failed'
  const open = c.status === 'starting' || c.status === 'stopping'
  const name = i % 3 === 1 ? 'container-stop' : 'container-create'
  const names = name === 'container-stop' ? ['queue', 'save', 'verify', 'service', 'secret'] : ['queue', 'config', 'bucket', 'secret', 'service', 'task', 'restore', 'urls']
  const done = failed ? 3 : open ? 5 : names.length
  const steps = names.slice(0, done).map((n, k) => ({ name: n, status: failed && k === 2 ? 'failed' : open && k === done - 1 ? 'running' : 'done', attempt: 1, startedAt: ago(60 - k), ...(open && k === done - 1 ? { message: 'The task is preparing.' } : { seconds: 0.03 + k * k * 0.11 }), ...(failed && k === 2 ? { message: c.error.message } : {}) }))
  const id = `${name}:${c.id}:1`
  c.job = id
  f.jobs.set(id, { id, function: name, containerId: c.id, owner: c.owner, status: failed ? 'failed' : open ? 'running' : 'succeeded', attempt: failed ? 2 : 1, maxAttempts: 12, queuedAt: ago(60 + i * 40), startedAt: ago(60 + i * 40), finishedAt: open ? null : ago(50 + i * 40), nextAttemptAt: null, steps, error: failed ? c.error : null, result: null, links: { self: `/api/jobs/${id}` }, ...(long ? {} : {}) })
}

const sum = (from, get) => from.reduce((n, x) => n + get(x), 0)
const amount = (f, key) => ({ used: sum(f.nodes, (n) => n[key].used), reserved: sum(f.nodes, (n) => n[key].reserved), total: sum(f.nodes, (n) => n[key].total), percent: (sum(f.nodes, (n) => n[key].used) / Math.max(1, sum(f.nodes, (n) => n[key].total))) * 100 })

function overview(f) {
  const all = [...f.containers.values()]
  const count = (s) => all.filter((c) => c.status === s).length
  return {
    at: new Date().toISOString(),
    containers: { total: all.length, starting: count('starting'), running: count('running'), stopping: count('stopping'), stopped: count('stopped'), failed: count('failed'), unsaved: all.filter((c) => c.unsaved).length },
    jobs: { queued: 3, running: 2, retrying: 0, waited: 0.4 },
    cpu: amount(f, 'cpu'),
    memory: amount(f, 'memory'),
    disk: amount(f, 'disk'),
    nodeCounts: { total: f.nodes.length, ready: f.nodes.length, down: 0, draining: 0, stale: 1, above: 1, placeable: f.nodes.filter((n) => n.placeable).length },
    nodes: f.nodes,
    addresses: { free: 65_100, total: 65_533, at: ago(3) },
    redis: { usedMemory: 73_400_320, maxMemory: GiB, policy: 'noeviction' },
    attention: all.length === 0 ? [] : [
      { kind: 'node_stale', nodeId: f.nodes.at(-1).id, message: `Node ${f.nodes.at(-1).hostname} has no worker that reports: nothing is known of what it uses.`, since: ago(95) },
      { kind: 'node_pressure', nodeId: f.nodes[1]?.id, message: 'Node node-2 takes nothing: its memory is at 91 %, above its mark of 90 %.', since: ago(400) },
      ...all.filter((c) => c.unsaved).slice(0, 3).map((c) => ({ kind: 'container_unsaved', containerId: c.id, message: `Container ${c.id} of ${c.owner} has files on its node that could not be saved.` })),
      ...[...f.jobs.values()].filter((j) => j.status === 'failed').slice(0, 4).map((j) => ({ kind: 'job_failed', jobId: j.id, containerId: j.containerId, message: `Job ${j.id} failed: ${j.error.message}`, since: j.finishedAt })),
    ],
    active: all.filter((c) => c.status === 'running').toSorted((a, b) => b.resourceUsage.cpu - a.resourceUsage.cpu).slice(0, 20),
  }
}

const wave = (i, base, swing) => Math.max(0, base + Math.sin(i / 9) * swing + Math.sin(i / 2.3) * swing * 0.25)
const past = (make) => ({ step: 10, points: Array.from({ length: 90 }, (_, i) => ({ at: ago((90 - i) * 10), ...make(i) })) })

const sorts = { id: (c) => c.id, status: (c) => c.status, node: (c) => c.node ?? '', owner: (c) => c.owner, cpu: (c) => c.resourceUsage?.cpu ?? -1, memory: (c) => c.resourceUsage?.memory ?? -1, activity: (c) => c.idle?.lastActivity ?? '', created: (c) => c.createdAt }

function list(f, q) {
  let all = f.order.map((id) => f.containers.get(id)).filter(Boolean)
  for (const key of ['status', 'owner', 'node']) if (q.get(key)) all = all.filter((c) => c[key] === q.get(key))
  if (q.get('unsaved')) all = all.filter((c) => c.unsaved)
  const text = q.get('q')?.toLowerCase()
  if (text) all = all.filter((c) => `${c.id} ${c.owner} ${c.s3Bucket} ${c.s3Prefix}`.toLowerCase().includes(text))
  const sort = q.get('sort')
  if (sort) {
    const get = sorts[sort.replace('-', '')] ?? sorts.created
    all = all.toSorted((a, b) => (get(a) < get(b) ? -1 : get(a) > get(b) ? 1 : 0) * (sort.startsWith('-') ? -1 : 1))
  }
  const limit = Number(q.get('limit') ?? 50)
  const offset = Number(q.get('offset') ?? 0)
  return { containers: all.slice(offset, offset + limit), total: all.length, limit, offset }
}

const templates = [
  { name: 'default', description: 'Editor, desktop, git, Python 3 and Node', image: 'localhost/berth-ide:latest', cpuLimit: 2, memoryLimit: 4 * GiB },
  { name: 'python', description: 'default with pip, venv and IPython', image: 'localhost/berth-ide-python:latest', environment: ['PYTHONUNBUFFERED'], cpuLimit: 2, memoryLimit: 4 * GiB },
  { name: 'node', description: 'default with a compiler for native modules, pnpm and yarn', image: 'localhost/berth-ide-node:latest', webCommand: 'npm run dev', cpuLimit: 1, memoryLimit: 2 * GiB },
]
const keys = [
  { name: 'admin', role: 'admin', source: 'environment', lastUsed: ago(4) },
  { name: 'course-1', role: 'client', source: 'api', createdAt: ago(86_400 * 9), createdBy: 'admin', lastUsed: ago(70), maxContainers: 20, buckets: ['course-1-*'] },
  { name: 'board', role: 'viewer', source: 'api', createdAt: ago(86_400 * 3), createdBy: 'admin' },
]
const hooks = [
  { id: 'wq5xqh5zt2mwf', owner: 'admin', all: true, url: 'https://hooks.example.org/berth', events: ['container.running', 'container.failed'], createdAt: ago(86_400), waiting: 0, lastDelivered: ago(40) },
  { id: 'wq5xqh5zt2mwg', owner: 'admin', all: true, url: 'https://chat.example.org/services/T024/B0/hook', events: [], createdAt: ago(86_400), waiting: 4, failures: 3, failingSince: ago(900) },
]
const deliveries = [
  { id: '1763987021337-0', messageId: 'msg_1763987021337_0', type: 'container.running', at: ago(40), status: 'delivered', attemptCount: 1, attempts: [{ at: ago(40), seconds: 0.12, status: 200, answer: 'ok' }], payload: { type: 'container.running' } },
  { id: '1763987021338-0', messageId: 'msg_1763987021338_0', type: 'container.failed', at: ago(60), status: 'waiting', attemptCount: 3, nextAttemptAt: new Date(Date.now() + 40_000).toISOString(), attempts: [{ at: ago(60), seconds: 15, error: 'There was no answer within 15 seconds.' }], payload: { type: 'container.failed' } },
]
const schedules = (f) => ['idle-sweep', 'probe-sweep', 'reconcile', 'purge-sweep'].map((name, i) => ({ name, function: `sweep-${name.split('-')[0]}`, description: pick(['Stop containers that are not used', 'Look whether containers answer', 'Compare records with the Swarm', 'Drop old records'], i), cron: pick(['@every 15s', '@every 30s', '@every 1m', '0 3 * * *'], i), next: i === 3 ? undefined : new Date(Date.now() + 9000).toISOString(), last: ago(6), paused: i === 3 ? { at: ago(3000), by: 'admin' } : undefined, lastJob: [...f.jobs.values()].find((j) => j.status === 'succeeded') }))

/** startFleet serves it; the answer has the address, the fleet, send (to all streams) and close. */
export async function startFleet(options = {}, port = 0) {
  const f = makeFleet(options)
  const streams = new Set()
  const server = createServer((req, res) => {
    const url = new URL(req.url, 'http://x')
    const json = (status, body) => {
      res.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', 'X-Request-ID': 'r7f3kq2mzt4wa' })
      res.end(body === undefined ? undefined : JSON.stringify(body))
    }
    const fault = (status, code, message, details) => json(status, { error: { code, message, details }, timestamp: new Date().toISOString(), path: url.pathname })
    const path = url.pathname
    const at = (pattern) => path.match(pattern)?.slice(1).map(decodeURIComponent)
    if (path === '/') return res.writeHead(302, { Location: '/dashboard/' }).end()
    if (path.startsWith('/dashboard')) return file(path, res)
    if (f.failing.includes(path)) return fault(503, 'QUEUE_UNAVAILABLE', 'The queue does not answer. Nothing was lost; please try again.')
    if (path === '/api/session') {
      if (req.method === 'GET') return f.role ? json(200, { name: 'admin', role: f.role, version: 'v1.4.0', queueAdmin: f.role === 'admin' }) : fault(401, 'AUTHENTICATION_FAILED', 'A valid API key is needed.')
      if (req.method === 'DELETE') f.role = ''
      else f.role = options.role ?? 'admin'
      return json(204)
    }
    if (path === '/api/dashboard/stream') {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
      res.write(`event: hello\ndata: ${JSON.stringify({ version: 'v1.4.0', at: new Date().toISOString(), name: 'admin', role: f.role })}\n\n`)
      const stream = { res, query: url.searchParams }
      streams.add(stream)
      const beat = setInterval(() => res.write(`event: beat\ndata: {"at":"${new Date().toISOString()}"}\n\n`), 5000)
      req.on('close', () => (clearInterval(beat), streams.delete(stream)))
      options.onStream?.(stream, f)
      return undefined
    }
    if (path === '/api/health') return json(200, { status: 'ok', version: 'v1.4.0', uptime: 86_400, durability: 'aof', isolation: 'on', workspaces: 'kept', checks: { redis: { ok: true }, swarm: { ok: true }, workers: { ok: true } } })
    if (path === '/api/dashboard/overview') return json(200, overview(f))
    if (path === '/api/dashboard/nodes') return json(200, { nodes: f.nodes, addresses: { free: 65_100, total: 65_533, at: ago(3) } })
    if (path === '/api/dashboard/usage' || at(/^\/api\/nodes\/([^/]+)\/usage$/)) return json(200, past((i) => ({ cpu: wave(i, 34, 14), memory: wave(i, 58, 4), disk: 61, load: 2, network: { in: 1, out: 1 }, nodes: 3 })))
    if (at(/^\/api\/containers\/([^/]+)\/usage$/)) return json(200, past((i) => ({ cpu: wave(i, 40, 30), memory: 7e8, memoryPercent: wave(i, 30, 3), network: { in: 1, out: 1 }, block: 0 })))
    if (at(/^\/api\/nodes\/join-token$/)) return json(200, { role: 'worker', token: 'SWMTKN-1-0abcdefghijklmnopqrstuvwxyz', command: 'docker swarm join --token SWMTKN-1-0abcdefghijklmnopqrstuvwxyz 192.0.2.11:2377' })
    if (path === '/api/containers/check') return json(200, { fits: true, image: 'localhost/berth-ide:latest', live: 3, limit: 50, nodes: f.nodes.map((n) => ({ id: n.id, hostname: n.hostname, fits: n.placeable, freeCpu: n.freeCpu, freeMemory: n.freeMemory, why: n.placeable ? undefined : 'Its worker does not report.' })) })
    if (path === '/api/containers') return json(200, list(f, url.searchParams))
    if (path === '/api/jobs') {
      const all = [...f.jobs.values()].filter((j) => (!url.searchParams.get('status') || j.status === url.searchParams.get('status')) && (!url.searchParams.get('function') || j.function === url.searchParams.get('function')))
      return json(200, { jobs: all, total: all.length, limit: 100, offset: 0 })
    }
    if (path === '/api/templates') return json(200, { templates })
    if (path === '/api/keys') return json(200, { keys })
    if (path === '/api/webhooks') return json(200, { webhooks: hooks })
    if (at(/^\/api\/webhooks\/([^/]+)\/deliveries$/)) return json(200, { deliveries, total: 2, limit: 100, offset: 0 })
    if (path === '/api/schedules') return json(200, { schedules: schedules(f) })
    const job = at(/^\/api\/jobs\/([^/]+)$/)
    if (job) return f.jobs.has(job[0]) ? json(200, f.jobs.get(job[0])) : fault(404, 'JOB_NOT_FOUND', `There is no job "${job[0]}".`)
    const events = at(/^\/api\/containers\/([^/]+)\/events$/)
    if (events) return json(200, { events: [
      { id: '1-0', type: 'container.starting', at: ago(700), containerId: events[0], by: 'course-1', message: 'It was asked for.' },
      { id: '2-0', type: 'container.running', at: ago(690), containerId: events[0], by: 'container-create', message: 'The URLs answer.' },
      { id: '3-0', type: 'container.idle_warning', at: ago(120), containerId: events[0], by: 'sweep-idle', message: 'It stops in 5 minutes.', receipt: { reason: 'inactivity', lastActivity: ago(1500), source: 'editor', signal: 'agent', stopsAt: ago(-300) } },
    ] })
    if (at(/^\/api\/containers\/([^/]+)\/generations$/)) return json(200, { generations: [17, 16, 15].map((g) => ({ generation: g, at: ago((18 - g) * 900), files: 1986 + g, bytes: 104_857_600 })) })
    const one = at(/^\/api\/containers\/([^/]+)$/)
    if (one && req.method === 'GET') return f.containers.has(one[0]) ? json(200, f.containers.get(one[0])) : fault(404, 'CONTAINER_NOT_FOUND', `There is no container "${one[0]}".`)
    return fault(404, 'NOT_FOUND', 'There is no such thing.')
  })
  await new Promise((ok) => server.listen(port, '127.0.0.1', ok))
  const send = (topic, event, data) => {
    const text = `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
    for (const s of streams) if (s.query.get('topics')?.split(',').includes(topic)) s.res.write(text)
  }
  return { url: `http://127.0.0.1:${server.address().port}`, fleet: f, streams, send, close: () => (server.closeAllConnections(), new Promise((ok) => server.close(ok))) }
}

function file(path, res) {
  let name = normalize(path.replace(/^\/dashboard\/?/, '/'))
  if (!extname(name)) name = '/index.html'
  try {
    const full = join(dist, name)
    statSync(full)
    res.writeHead(200, { 'Content-Type': types[extname(name)] ?? 'application/octet-stream', 'Content-Security-Policy': policy, 'Cache-Control': 'no-cache' })
    res.end(readFileSync(full))
  } catch {
    res.writeHead(404).end('not found')
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url, fleet, send } = await startFleet({ containers: Number(process.env.CONTAINERS ?? 48) }, Number(process.env.PORT ?? 8099))
  setInterval(() => send('logs', 'logs', logBatch(3)), 700)
  setInterval(() => {
    const c = fleet.containers.get(fleet.order[Math.floor(Math.random() * fleet.order.length)])
    if (c?.resourceUsage) c.resourceUsage = { ...c.resourceUsage, cpu: Math.random() * 90 }
    if (c) send('containers', 'container', c)
  }, 300)
  console.log(url)
}

let line = 0
/** logBatch makes lines as programs print them. */
export function logBatch(n) {
  const now = Date.now()
  return Array.from({ length: n }, () => {
    const i = line++
    const level = pick(['info', 'info', 'info', 'debug', 'info', 'warn', 'info', 'error'], i)
    return { id: `${now}-${i}`, at: new Date(now).toISOString(), nodeId: 'x8vlm0vmpo1jg5yk4zo2dg000', ...(i % 4 ? { containerId: idOf(i % 40) } : {}), source: i % 4 ? 'stdout' : pick(['api', 'worker'], i / 4), level, text: pick(['\u001B[32mGET\u001B[0m /api/items \u001B[33m200\u001B[0m 12ms', 'compiled 214 modules in 1.2 s', 'level=debug msg="cache hit" key=session:4821', 'npm WARN deprecated inflight@1.0.6: this module is not supported, and leaks memory', 'Error: connect ECONNREFUSED 127.0.0.1:5432 at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1606:16)', 'workspace saved, 17 files, 2.1 MB'], i * 5) }
  })
}
