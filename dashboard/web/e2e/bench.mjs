// Measures the built dashboard in Chromium: first rows of 10,000, 2,000 updates a second, 1,000 log lines a second. Prints
// first rows, latency from a key to its paint, long tasks, heap. SECONDS=60 says how long each load is kept up.
import { chromium } from '@playwright/test'
import { logBatch, startFleet } from './fleet.mjs'

const seconds = Number(process.env.SECONDS ?? 20)
const fleet = await startFleet({ containers: 10_000, nodes: 10 })
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--enable-precise-memory-info', '--js-flags=--expose-gc'] })
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
const session = await page.context().newCDPSession(page)

const watch = () =>
  page.evaluate(() => {
    const w = window
    w.measured = { tasks: [], frames: 0, since: performance.now() }
    w.observer?.disconnect()
    w.observer = new PerformanceObserver((l) => w.measured.tasks.push(...l.getEntries().map((e) => e.duration)))
    w.observer.observe({ type: 'longtask' })
    const frame = () => {
      w.measured.frames++
      requestAnimationFrame(frame)
    }
    if (!w.counting) requestAnimationFrame(frame)
    w.counting = true
  })
const seen = () => page.evaluate(() => ({ tasks: window.measured.tasks, fps: (window.measured.frames / (performance.now() - window.measured.since)) * 1000 }))
const heap = async () => {
  await session.send('HeapProfiler.collectGarbage')
  return (await page.evaluate(() => performance.memory.usedJSHeapSize)) / 1e6
}
const line = (what, value) => console.log(`${what.padEnd(46)} ${value}`)
const tasksOf = (list) => `${list.length} over 50 ms, the longest ${Math.round(Math.max(0, ...list))} ms`

// latency is from a key to the frame that shows it, in a search field that the load goes on under.
async function latency(field) {
  const times = []
  await page.getByRole('searchbox').focus()
  for (let i = 0; i < 20; i++) {
    await page.evaluate(() => {
      window.typed = new Promise((ok) => addEventListener('keydown', (e) => requestAnimationFrame(() => setTimeout(() => ok(performance.now() - e.timeStamp))), { once: true, capture: true }))
    })
    await page.keyboard.press(field[i % field.length])
    times.push(await page.evaluate(() => window.typed))
  }
  for (let i = 0; i < 20; i++) await page.keyboard.press('Backspace')
  times.sort((a, b) => a - b)
  return `median ${times[10].toFixed(0)} ms, worst ${times.at(-1).toFixed(0)} ms`
}

const began = Date.now()
await page.goto(`${fleet.url}/dashboard/containers`)
await page.locator('[data-row="10"] [data-open]').waitFor()
line('first rows of 10,000, from the first request', `${Date.now() - began} ms`)

let sent = 0
const all = fleet.fleet.order
const updates = setInterval(() => {
  let text = ''
  for (let i = 0; i < 100; i++) {
    // Half of them to the rows in sight.
    const id = all[i % 2 ? sent % 30 : (sent * 7919) % all.length]
    const c = fleet.fleet.containers.get(id)
    sent++
    text += `event: container\ndata: ${JSON.stringify(c.resourceUsage ? { ...c, resourceUsage: { ...c.resourceUsage, cpu: sent % 97 } } : c)}\n\n`
  }
  for (const s of fleet.streams) s.res.write(text)
}, 50)
await watch()
const from = sent
await new Promise((ok) => setTimeout(ok, seconds * 1000))
const rows = await seen()
line(`updates a second, for ${seconds} s`, ((sent - from) / seconds).toFixed(0))
line('  frames a second', rows.fps.toFixed(0))
line('  tasks', tasksOf(rows.tasks))
line('  key to paint', await latency('abcde'))
clearInterval(updates)
line('  heap', `${(await heap()).toFixed(1)} MB`)

await page.goto(`${fleet.url}/dashboard/logs`)
await page.getByRole('log').waitFor()
let lines = 0
const logs = setInterval(() => {
  lines += 75
  fleet.send('logs', 'logs', logBatch(75))
}, 75)
await page.locator('[data-index]').first().waitFor()
await watch()
const first = lines
await new Promise((ok) => setTimeout(ok, seconds * 1000))
const log = await seen()
line(`log lines a second, for ${seconds} s`, ((lines - first) / seconds).toFixed(0))
line('  frames a second', log.fps.toFixed(0))
line('  tasks', tasksOf(log.tasks))
line('  heap', `${(await heap()).toFixed(1)} MB after ${lines.toLocaleString('en')} lines`)
line('  key to paint', await latency('z'))
clearInterval(logs)

await browser.close()
await fleet.close()
