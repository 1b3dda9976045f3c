import { AxeBuilder } from '@axe-core/playwright'
import { type Page, expect, test } from '@playwright/test'
import { type Fleet, makeFleet } from './fleet.mjs'
import { named, open, show, views } from './views'

// What the browser itself complains of, as a violated policy, is a fault on every page.
function complaints(page: Page): string[] {
  const list: string[] = []
  page.on('console', (m) => {
    if (m.type() === 'error' && !/status of (401|404|503)/.test(m.text())) list.push(m.text())
  })
  page.on('pageerror', (e) => list.push(String(e)))
  return list
}

// axe looks at the page as it is; rules are all that it has, or those that are named.
async function axe(page: Page, what: string, rules?: string[]): Promise<void> {
  const builder = new AxeBuilder({ page })
  if (rules) builder.withRules(rules)
  else builder.withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
  const { violations } = await builder.analyze()
  expect(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`), what).toEqual([])
}

const background = (page: Page) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)

let fleet: Fleet
test.afterEach(async () => fleet.close())

const pages = views({ fleet: makeFleet() })

// The themes differ in colors only, so the second look is about contrast only.
for (const { name } of pages)
  test(`axe finds nothing, light and dark: ${name}`, async ({ page }) => {
    fleet = await open()
    const wrong = complaints(page)
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' })
    await show(page, fleet, named(fleet, name))
    await axe(page, 'light')
    const light = await background(page)
    await page.emulateMedia({ colorScheme: 'dark' })
    await expect.poll(() => background(page)).not.toBe(light)
    await axe(page, 'dark', ['color-contrast'])
    expect(wrong).toEqual([])
  })

const narrow = [
  { what: '390 px', width: 390, height: 844 },
  { what: '200 % of a small laptop', width: 640, height: 400 },
]

for (const { name } of pages)
  test(`nothing is cut off in a narrow window: ${name}`, async ({ page }) => {
    fleet = await open({ long: true })
    await page.emulateMedia({ reducedMotion: 'reduce' })
    for (const { what, width, height } of narrow) {
      await page.setViewportSize({ width, height })
      await show(page, fleet, named(fleet, name))
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), `it scrolls sideways at ${what}`).toBeLessThanOrEqual(0)
    }
  })

test('a viewer sees everything and no button that changes something', async ({ page }) => {
  fleet = await open({ role: 'viewer' })
  for (const path of ['/', '/nodes', `/nodes?open=${fleet.fleet.nodes[0]?.id}`, '/containers', `/containers?open=${fleet.fleet.order[0]}`, '/jobs', '/settings/webhooks']) {
    await page.goto(`${fleet.url}/dashboard${path}`)
    await page.locator('h1').waitFor()
    await page.waitForLoadState('networkidle')
    await expect(page.getByRole('button', { name: /^(Create|Stop|Start|Restart|Drain|Remove|Labels|Add a node|New webhook|Delete|Cancel|Try again|Keep alive)/ }), path).toHaveCount(0)
    await expect(page.getByRole('checkbox', { name: /^Choose/ }), path).toHaveCount(0)
  }
  await expect(page.getByRole('tab', { name: 'API keys' })).toHaveCount(0)
})

test('nothing there yet: each page says what to do', async ({ page }) => {
  fleet = await open({ containers: 0, nodes: 1 })
  await page.goto(`${fleet.url}/dashboard/`)
  await expect(page.getByText('Create your first container')).toBeVisible()
  await page.goto(`${fleet.url}/dashboard/containers`)
  await expect(page.getByText('There is no container yet')).toBeVisible()
  await axe(page, 'an empty list')
  await page.goto(`${fleet.url}/dashboard/jobs`)
  await expect(page.getByText('There was no job yet')).toBeVisible()
  await page.goto(`${fleet.url}/dashboard/containers?q=nothing-like-it`)
  await page.getByRole('button', { name: 'Show all' }).click()
  await expect(page).toHaveURL(/containers$/)
})

test('jobs: how many wait, and for how long', async ({ page }) => {
  fleet = await open()
  await page.goto(`${fleet.url}/dashboard/jobs`)
  await expect(page.getByText('3 queued, for 400 ms')).toBeVisible()
})

test('a running container can be deleted, and the question says that it is saved first', async ({ page }) => {
  fleet = await open()
  const id = [...fleet.fleet.containers.values()].find((c) => c.status === 'running')?.id as string
  await page.goto(`${fleet.url}/dashboard/containers?open=${id}`)
  await page.getByRole('button', { name: 'More actions' }).click()
  await page.getByRole('menuitem', { name: 'Delete' }).click()
  await expect(page.getByRole('dialog', { name: `Delete ${id}?` })).toContainText('It is saved and stopped first.')
})

test('one panel fails, and the rest of the page does not', async ({ page }) => {
  fleet = await open({ failing: ['/api/dashboard/usage'] })
  await page.goto(`${fleet.url}/dashboard/`)
  const alert = page.getByRole('alert').first()
  await expect(alert).toContainText('The queue does not answer.')
  await expect(alert).toContainText('r7f3kq2mzt4wa')
  await expect(page.getByRole('heading', { name: 'Most active' })).toBeVisible()
  fleet.fleet.failing = []
  await alert.getByRole('button', { name: 'Retry' }).click()
  await expect(page.getByRole('alert')).toHaveCount(0)
})

test('a lost connection shows within 10 s, keeps what is shown, and heals by itself', async ({ page }) => {
  fleet = await open()
  await page.goto(`${fleet.url}/dashboard/containers`)
  const chip = page.getByRole('status').filter({ hasText: /Live|Reconnecting|Stale|Connecting/ }).last()
  await expect(chip).toHaveText('Live')
  await page.route('**/api/dashboard/stream**', (r) => r.abort())
  for (const s of fleet.streams) s.res.destroy()
  await expect(chip).toHaveText('Reconnecting', { timeout: 10_000 })
  await expect(chip).toHaveText(/Stale since \d\d:\d\d/, { timeout: 12_000 })
  await expect(page.locator('[data-row="0"] [data-open]')).toBeVisible()
  await page.unroute('**/api/dashboard/stream**')
  await expect(chip).toHaveText('Live', { timeout: 15_000 })
})

test('10,000 containers: any row is there at once, and changes show in their rows', async ({ page }) => {
  fleet = await open({ containers: 10_000 })
  await page.goto(`${fleet.url}/dashboard/containers`)
  await expect(page.getByText('10,000 containers')).toBeVisible()
  const table = page.getByRole('table', { name: 'Containers' })
  await expect(table).toHaveAttribute('aria-rowcount', '10001')
  await table.evaluate((t) => (t.parentElement as HTMLElement).scrollTo(0, 1e9))
  const last = fleet.fleet.order.at(-1) as string
  await expect(page.getByRole('link', { name: last })).toBeVisible()
  const c = fleet.fleet.containers.get(last)
  fleet.send('containers', 'container', { ...c, status: 'failed' })
  await expect(page.locator('[data-row="9999"]')).toContainText('failed')
  expect(await page.locator('[data-row]').count()).toBeLessThan(80)
})

test('names of 63 characters and an error of 4 KiB fit', async ({ page }) => {
  fleet = await open({ long: true })
  const failed = [...fleet.fleet.containers.values()].find((c) => c.status === 'failed')?.id
  await page.goto(`${fleet.url}/dashboard/containers?open=${failed}`)
  await expect(page.getByRole('dialog')).toContainText('the log of the program goes on and on')
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0)
  const box = await page.getByRole('dialog').boundingBox()
  expect(box?.width).toBeLessThanOrEqual(620)
  await axe(page, 'long texts')
})

test('the keyboard is enough', async ({ page }) => {
  fleet = await open()
  await page.goto(`${fleet.url}/dashboard/`)
  await page.locator('h1').waitFor()
  await page.keyboard.press('Tab')
  await expect(page.getByRole('link', { name: 'Go to the content' })).toBeFocused()
  await page.keyboard.press('g')
  await page.keyboard.press('c')
  await expect(page.locator('h1')).toHaveText('Containers')
  await page.locator('[data-row="0"] [data-open]').waitFor()
  await page.keyboard.press('j')
  await page.keyboard.press('j')
  await expect(page.locator('[data-row="1"] [data-open]')).toBeFocused()
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(new RegExp(`open=${fleet.fleet.order[1]}`))
  await expect(page.getByRole('dialog')).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(page.getByRole('dialog')).toBeHidden()
  await page.keyboard.press('x')
  await expect(page.getByRole('toolbar')).toContainText('1 chosen')
  await page.keyboard.press('/')
  await expect(page.getByRole('searchbox')).toBeFocused()
  await page.keyboard.type('alice')
  await expect(page).toHaveURL(/q=alice/)
  await page.keyboard.press('Escape')
  await expect(page).toHaveURL(/containers$/)
  await page.keyboard.press('Control+k')
  await expect(page.getByRole('combobox', { name: 'Find or do' })).toBeFocused()
  await page.keyboard.type('failed')
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(/jobs\?status=failed/)
  await page.keyboard.press('?')
  await expect(page.getByRole('dialog', { name: 'Keys' })).toBeVisible()
})

test('a list does not move under the pointer', async ({ page }) => {
  fleet = await open()
  await page.goto(`${fleet.url}/dashboard/containers`)
  const first = fleet.fleet.order[0] as string
  await page.locator(`[data-row="0"]`).hover()
  const gone = fleet.fleet.order[1] as string
  fleet.fleet.containers.delete(gone)
  fleet.send('containers', 'gone', { id: gone })
  await page.getByRole('button', { name: 'Order changed, apply' }).waitFor()
  await expect(page.locator('[data-row="0"]')).toContainText(first)
  await page.getByRole('button', { name: 'Order changed, apply' }).click()
  await expect(page.getByText('47 containers')).toBeVisible()
})

test('logs: scrolling up pauses, says how many are new, and goes on', async ({ page }) => {
  const { logBatch } = await import('./fleet.mjs')
  fleet = await open()
  await page.goto(`${fleet.url}/dashboard/logs`)
  const log = page.getByRole('log')
  await expect(log.locator('[data-index]').first()).toBeVisible()
  await log.hover()
  await page.mouse.wheel(0, -300)
  await page.getByRole('button', { name: /^Paused/ }).waitFor()
  fleet.send('logs', 'logs', logBatch(7))
  await page.getByRole('button', { name: 'Paused, 7 new, resume' }).click()
  await expect(page.getByRole('button', { name: /^Paused/ })).toHaveCount(0)
  fleet.send('logs', 'dropped', { count: 12 })
  await expect(page.getByText('12 lines came faster')).toBeVisible()
})

test('a session that has ended leads to the login, and back to where one was', async ({ page }) => {
  fleet = await open()
  await page.goto(`${fleet.url}/dashboard/containers?status=failed`)
  await page.locator('[data-row="0"]').waitFor()
  fleet.fleet.role = ''
  fleet.send('containers', 'end', { reason: 'revoked' })
  await expect(page.getByText('The session has ended')).toBeVisible()
  await page.getByLabel('API key').fill('some-key')
  await page.getByRole('button', { name: 'Log in' }).click()
  await expect(page).toHaveURL(/containers\?status=failed/)
})
