import { AxeBuilder } from '@axe-core/playwright'
import { type Page, expect, test } from '@playwright/test'

// Against the real program, a real Redis and a real Swarm: internal/e2e starts them and this.
const base = process.env.BASE_URL ?? ''
const key = process.env.ADMIN_KEY ?? ''
const bucket = `flows-${Date.now().toString(36)}`
const drained = process.env.DRAIN_NODE // a node that may be drained
const gone = process.env.GONE_NODE // a node that has left the Swarm
const hook = process.env.HOOK_URL ?? '' // takes deliveries, and answers GET with what it took: {id, signatures}[]

test.describe.configure({ mode: 'serial' })
test.skip(base === '', 'BASE_URL and ADMIN_KEY say where a control plane is: LAB=… RUN=TestDashboard make lab-test')

let page: Page
let id = ''
const wrong: string[] = []

test.beforeAll(async ({ browser }) => {
  page = await (await browser.newContext({ baseURL: base, viewport: { width: 1440, height: 900 } })).newPage() // axe wants a context
  page.on('console', (m) => {
    // A browser has no Cross-Origin-Opener-Policy over plain HTTP, and says so; that is no fault of the page.
    if (m.type() === 'error' && !/status of 40[134]|Cross-Origin-Opener-Policy header has been ignored/.test(m.text())) wrong.push(m.text())
  })
  page.on('pageerror', (e) => wrong.push(String(e)))
})
test.afterAll(async () => page.context().close())
test.afterEach(() => expect(wrong.splice(0), 'what the browser complains of').toEqual([]))

// started runs in the page, with its session.
async function started(body: object): Promise<string> {
  const answer = await fetch('/api/containers/start', { method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json', Prefer: 'wait=60' } })
  return ((await answer.json()) as { id: string }).id
}

async function login(p: Page, with_: string): Promise<void> {
  await p.getByLabel('API key').fill(with_)
  await p.getByRole('button', { name: 'Log in' }).click()
}

test('log in: a wrong key is told, the right one leads to where one wanted to go', async () => {
  await page.goto('/dashboard/containers')
  await expect(page).toHaveURL(/login\?next=/)
  await login(page, 'a-key-that-nobody-has-a-key-that-nobody-has')
  await expect(page.getByRole('alert')).toContainText('This key is not known')
  await login(page, key)
  await expect(page.locator('h1')).toHaveText('Containers')
  await expect(page.getByText('Live', { exact: true }).last()).toBeVisible()
})

test('create: whether it fits shows while one types; its job is followed until it runs', async () => {
  await page.getByRole('button', { name: /^Create/ }).first().click()
  const dialog = page.getByRole('dialog', { name: 'Create a container' })
  await dialog.getByLabel('Bucket', { exact: true }).fill(bucket)
  await expect(dialog.getByText(/^Fits on \d/)).toBeVisible()
  await dialog.getByLabel('CPU limit').fill('1000')
  await dialog.getByLabel('CPU limit').blur()
  await expect(dialog.getByText('At most 512.')).toBeVisible()
  await expect(dialog.getByText(/^Fits on \d/)).toBeHidden()
  await dialog.getByLabel('CPU limit').fill('')
  await expect(dialog.getByText(/^Fits on \d/)).toBeVisible()
  await dialog.getByRole('button', { name: 'Create' }).click()
  await expect(page).toHaveURL(/open=[a-z0-9]{13}/)
  id = new URL(page.url()).searchParams.get('open') ?? ''
  const drawer = page.getByRole('dialog').filter({ hasText: id })
  await expect(drawer.getByText('running', { exact: true }).first()).toBeVisible({ timeout: 90_000 })
  await expect(page.getByRole('region', { name: 'Notifications' })).toContainText(`Create ${id}`)
})

test('its row, its timeline and the overview say the same', async () => {
  const drawer = page.getByRole('dialog').filter({ hasText: id })
  await drawer.getByRole('tab', { name: 'Timeline' }).click()
  await expect(drawer.getByText('Container create')).toBeVisible()
  await expect(drawer.getByText('Running', { exact: true })).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(page.getByRole('row').filter({ hasText: id })).toContainText('running')
  await page.getByRole('link', { name: 'Overview', exact: true }).click()
  await expect(page.getByRole('link', { name: /^Running/ })).toHaveText(/Running\s*[1-9]/)
})

test('open the code-server link', async () => {
  await page.goto(`/dashboard/containers?open=${id}`)
  const opened = page.context().waitForEvent('page')
  await page.getByRole('link', { name: 'Open code-server' }).first().click()
  const tab = await opened
  await tab.waitForLoadState()
  expect(tab.url()).toContain(`${id}-code`)
  expect((await tab.locator('body').textContent())?.length).toBeGreaterThan(0)
  await tab.close()
})

test('logs are filtered live, by the server', async () => {
  await page.goto('/dashboard/logs')
  const log = page.getByRole('log')
  await expect(log.locator('[data-index]').first()).toBeVisible()
  await page.getByLabel('Search lines').fill('no-line-has-this-in-it')
  await expect(log.getByText('No line matches.')).toBeVisible()
  await page.getByRole('button', { name: 'Clear', exact: true }).click()
  await page.getByLabel('Container', { exact: true }).fill(id)
  await expect(page).toHaveURL(new RegExp(`container=${id}`))
  await expect(log.locator('[data-index]').first()).toBeVisible()
  await page.getByLabel('Level').selectOption('error')
  await expect(page).toHaveURL(/level=error/)
})

test('keep alive puts the stop off', async () => {
  await page.goto(`/dashboard/containers?open=${id}`)
  const drawer = page.getByRole('dialog').filter({ hasText: id })
  await drawer.getByRole('button', { name: 'Keep alive' }).click()
  await page.getByRole('menuitem', { name: 'For 4 hours' }).click()
  await expect(drawer.getByText(/kept alive for [34] h/)).toBeVisible()
})

test('stop: it asks nothing, and the receipt is in its history', async () => {
  const drawer = page.getByRole('dialog').filter({ hasText: id })
  await drawer.getByRole('button', { name: 'Stop', exact: true }).click()
  await expect(page.getByRole('region', { name: 'Notifications' })).toContainText(`Stop ${id}`)
  await expect(drawer.getByText('stopped', { exact: true }).first()).toBeVisible({ timeout: 90_000 })
  await expect(drawer.getByText('Somebody stopped it.')).toBeVisible()
  await drawer.getByRole('tab', { name: 'Timeline' }).click()
  await expect(drawer.getByText('Stopped', { exact: true })).toBeVisible()
  await page.reload()
  await expect(page.getByRole('dialog').getByText('stopped', { exact: true }).first()).toBeVisible()
})

test('start it again, then delete it: what is lost is named', async () => {
  const drawer = page.getByRole('dialog').filter({ hasText: id })
  await drawer.getByRole('button', { name: 'Start', exact: true }).click()
  await expect(drawer.getByText('running', { exact: true }).first()).toBeVisible({ timeout: 90_000 })
  await drawer.getByRole('button', { name: 'Stop', exact: true }).click()
  await expect(drawer.getByText('stopped', { exact: true }).first()).toBeVisible({ timeout: 90_000 })
  await drawer.getByRole('button', { name: 'More actions' }).click()
  await page.getByRole('menuitem', { name: 'Delete' }).click()
  const question = page.getByRole('dialog', { name: `Delete ${id}?` })
  await expect(question).toContainText(bucket)
  await question.getByRole('button', { name: 'Delete' }).click()
  await expect(page.getByText(`There is no container ${id}`)).toBeVisible({ timeout: 60_000 })
})

test('several at once: one job with a result for each', async () => {
  const made: string[] = []
  for (const n of [1, 2]) {
    made.push(await page.evaluate(started, { s3Bucket: bucket, s3Prefix: `bulk-${n}` }))
  }
  await page.goto('/dashboard/containers')
  for (const one of made) await page.getByRole('checkbox', { name: `Choose ${one}` }).check()
  await page.getByRole('toolbar').getByRole('button', { name: 'Stop' }).click()
  for (const one of made) await expect(page.getByRole('row').filter({ hasText: one })).toContainText('stopped', { timeout: 90_000 })
  await page.getByRole('region', { name: 'Notifications' }).getByRole('link', { name: 'Show the job' }).first().click()
  for (const one of made) await expect(page.getByRole('dialog').getByText(one)).toBeVisible()
})

const newWebhook = async (url: string): Promise<string> => {
  await page.getByRole('button', { name: 'New webhook' }).click()
  const dialog = page.getByRole('dialog', { name: 'New webhook' })
  await dialog.getByLabel('URL').fill(url)
  await dialog.getByRole('button', { name: 'Make the webhook' }).click()
  return keptSecret()
}
const keptSecret = async (): Promise<string> => {
  const shown = page.getByRole('dialog', { name: 'The secret' })
  await expect(shown.locator('code')).toContainText('whsec_')
  const secret = (await shown.locator('code').textContent()) ?? ''
  await shown.getByRole('button', { name: 'I have kept it' }).click()
  return secret
}

// Nobody answers at this name: each delivery fails, and shows why.
const endpoint = 'https://hooks.invalid/berth'

test('a webhook: made, its secret shown once', async () => {
  await page.goto('/dashboard/settings/webhooks')
  await page.getByRole('button', { name: 'New webhook' }).click()
  const dialog = page.getByRole('dialog', { name: 'New webhook' })
  await dialog.getByLabel('URL').fill('hooks.invalid')
  await dialog.getByRole('button', { name: 'Make the webhook' }).click()
  await expect(dialog.getByText('It begins with https:// or http://.')).toBeVisible()
  await dialog.getByRole('button', { name: 'Close' }).click()
  await newWebhook(endpoint)
  await expect(page.getByRole('button', { name: endpoint, exact: true })).toBeVisible()
})

test('a new secret for a webhook, and an old message again: it is signed with both', async () => {
  test.skip(hook === '', 'HOOK_URL is an endpoint that answers')
  const made = await newWebhook(hook)
  const one = await page.evaluate(started, { s3Bucket: bucket, s3Prefix: 'told' })
  await page.getByRole('button', { name: hook, exact: true }).click()
  const message = page.getByRole('dialog').filter({ hasText: hook }).getByRole('listitem').filter({ hasText: 'container.running' })
  await expect(message.getByText('delivered', { exact: true })).toBeVisible({ timeout: 30_000 })
  await page.keyboard.press('Escape')

  await page.getByRole('button', { name: `New secret for ${hook}` }).click()
  await page.getByRole('dialog', { name: 'Make a new secret?' }).getByRole('button', { name: 'Make a new secret' }).click()
  expect(await keptSecret()).not.toBe(made)

  await page.getByRole('button', { name: hook, exact: true }).click()
  await message.locator('summary').click()
  const messageID = (await message.locator('p').last().textContent()) ?? ''
  const signatures = async () => {
    const took = (await (await fetch(hook)).json()) as { id: string; signatures: number }[]
    return took.filter((m) => m.id === messageID).map((m) => m.signatures)
  }
  expect(await signatures()).toEqual([1])
  await message.getByRole('button', { name: 'Again' }).click()
  await expect.poll(signatures, { timeout: 30_000 }).toEqual([1, 2])
  await expect(message.getByText('2 attempts', { exact: false })).toBeVisible()
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: `Delete ${hook}` }).click()
  await page.getByRole('dialog', { name: 'Delete this webhook?' }).getByRole('button', { name: 'Delete' }).click()
  await expect(page.getByRole('button', { name: hook, exact: true })).toBeHidden()
  await page.evaluate(async (at) => fetch(`/api/containers/${at}/stop`, { method: 'POST' }), one)
})

test('probe, restart and move: each is a job with its timeline', async () => {
  test.skip(!drained, 'DRAIN_NODE names a second node')
  const one = await page.evaluate(started, { s3Bucket: bucket, s3Prefix: 'moved' })
  await page.goto(`/dashboard/containers?open=${one}`)
  const drawer = page.getByRole('dialog').filter({ hasText: one }).first()
  const notes = page.getByRole('region', { name: 'Notifications' })
  const more = async (what: string) => {
    await drawer.getByRole('button', { name: 'More actions' }).click()
    await page.getByRole('menuitem', { name: what }).click()
  }
  await expect(drawer.getByText('running', { exact: true }).first()).toBeVisible()
  await more('Probe now')
  await expect(notes).toContainText(`Probe ${one}`)

  const node = async () => (await page.evaluate(async (at) => ((await (await fetch(`/api/containers/${at}`)).json()) as { node: string }).node, one)) as string
  const before = await node()
  await more('Move to another node')
  await page.getByRole('dialog', { name: `Move ${one}` }).getByRole('button', { name: 'Move' }).click()
  await expect(notes).toContainText(`Move ${one}`)
  await expect.poll(node, { timeout: 90_000 }).not.toBe(before)
  await expect(drawer.getByText('running', { exact: true }).first()).toBeVisible({ timeout: 60_000 })
  await drawer.getByRole('tab', { name: 'Timeline' }).click()
  await expect(drawer.getByText('Container move')).toBeVisible()

  const begun = async () => (await page.evaluate(async (at) => ((await (await fetch(`/api/containers/${at}`)).json()) as { startedAt?: string }).startedAt ?? '', one)) as string
  const first = await begun()
  await drawer.getByRole('button', { name: 'Restart' }).click()
  await expect(notes).toContainText(`Restart ${one}`)
  await expect(drawer.getByText('Container restart', { exact: true })).toBeVisible({ timeout: 90_000 })
  await expect.poll(async () => !['', first].includes(await begun()), { timeout: 90_000 }).toBe(true) // its second half
  await expect(drawer.getByText('running', { exact: true }).first()).toBeVisible({ timeout: 90_000 })
})

test('the webhook was told, every attempt shows, and it can be deleted', async () => {
  await page.goto('/dashboard/settings/webhooks')
  await page.getByRole('button', { name: endpoint, exact: true }).click()
  const drawer = page.getByRole('dialog').filter({ hasText: endpoint })
  await expect(drawer.getByText('container.running').first()).toBeVisible()
  await drawer.locator('summary').last().click()
  await expect(drawer.getByText('no answer').last()).toBeVisible()
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: `Delete ${endpoint}` }).click()
  await page.getByRole('dialog', { name: 'Delete this webhook?' }).getByRole('button', { name: 'Delete' }).click()
  await expect(page.getByText('There is no webhook yet')).toBeVisible()
})

test('a schedule runs now, rests, and goes on', async () => {
  await page.goto('/dashboard/settings/schedules')
  const row = page.getByRole('listitem').filter({ hasText: 'purge-sweep' }).first()
  await row.getByRole('button', { name: 'Run now' }).click()
  await expect(row.getByText('succeeded')).toBeVisible({ timeout: 30_000 })
  await row.getByRole('button', { name: 'Pause' }).click()
  await expect(row.getByText(/^paused by /)).toBeVisible()
  await row.getByRole('button', { name: 'Resume' }).click()
  await expect(row.getByText(/^paused by /)).toBeHidden()
})

test('how a node joins: the token is hidden until it is asked for', async () => {
  await page.goto('/dashboard/nodes')
  await page.getByRole('button', { name: 'Add a node' }).click()
  const dialog = page.getByRole('dialog', { name: 'Add a node' })
  await expect(dialog.locator('code')).toContainText('docker swarm join --token •')
  await dialog.getByRole('button', { name: 'Show the token' }).click()
  await expect(dialog.locator('code')).toContainText('docker swarm join --token SWMTKN-')
  await dialog.getByRole('button', { name: 'Close' }).first().click()
})

test('drain a node, and take it back', async () => {
  test.skip(!drained, 'DRAIN_NODE names a node that may be drained')
  await page.goto('/dashboard/nodes')
  await page.getByRole('link', { name: drained ?? '', exact: true }).click()
  const drawer = page.getByRole('dialog').filter({ hasText: drained ?? '' }).first()
  await drawer.getByRole('button', { name: 'Drain' }).click()
  await page.getByRole('dialog', { name: `Drain ${drained}?` }).getByRole('button', { name: 'Drain' }).click()
  await expect(drawer.getByText('drained', { exact: true }).first()).toBeVisible({ timeout: 90_000 })
  await drawer.getByRole('button', { name: 'Activate' }).click()
  await expect(drawer.getByRole('button', { name: 'Drain' })).toBeVisible({ timeout: 60_000 })
})

test('label a node, and take the label away', async () => {
  test.skip(!drained, 'DRAIN_NODE names a second node')
  await page.goto('/dashboard/nodes')
  await page.getByRole('link', { name: drained ?? '', exact: true }).click()
  const drawer = page.getByRole('dialog').filter({ hasText: drained ?? '' }).first()
  const form = page.getByRole('dialog', { name: `Labels of ${drained}` })
  const text = form.getByRole('textbox')
  const label = drawer.getByText('zone=attic', { exact: true })
  await drawer.getByRole('button', { name: 'Labels' }).click()
  const before = await text.inputValue()
  await text.fill('zone')
  await expect(form.getByText('"zone" is no name=value.')).toBeVisible()
  await expect(form.getByRole('button', { name: 'Set the labels' })).toBeDisabled()
  await text.fill(`${before}\nzone=attic`)
  await form.getByRole('button', { name: 'Set the labels' }).click()
  await expect(label).toBeVisible({ timeout: 30_000 })
  await drawer.getByRole('button', { name: 'Labels' }).click()
  await expect(text).toHaveValue(/zone=attic/)
  await text.fill(before)
  await form.getByRole('button', { name: 'Set the labels' }).click()
  await expect(label).toBeHidden({ timeout: 30_000 })
})

test('remove a node that has left: its name is asked for', async () => {
  test.skip(!gone, 'GONE_NODE names a node that has left the Swarm')
  await page.goto('/dashboard/nodes')
  await page.getByRole('link', { name: gone ?? '', exact: true }).click()
  const drawer = page.getByRole('dialog').filter({ hasText: gone ?? '' }).first()
  await expect(drawer.getByText('down', { exact: true }).first()).toBeVisible()
  await drawer.getByRole('button', { name: 'Remove' }).click()
  const question = page.getByRole('dialog', { name: `Remove ${gone}?` })
  await expect(question.getByRole('button', { name: 'Remove' })).toBeDisabled()
  await question.getByLabel(`Type ${gone} to go on`).fill(gone ?? '')
  await question.getByRole('button', { name: 'Remove' }).click()
  await expect(page.getByText('There is no such node')).toBeVisible({ timeout: 60_000 })
  await page.keyboard.press('Escape')
  await expect(page.getByRole('link', { name: gone ?? '', exact: true })).toBeHidden()
})

const faults = async (axe: AxeBuilder) => (await axe.analyze()).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`)

test('axe finds nothing on the real pages, light and dark', async () => {
  for (const path of ['', 'nodes', 'containers', 'logs', 'jobs', 'settings/keys', 'settings/webhooks', 'settings/schedules', 'settings/templates']) {
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' })
    await page.goto(`/dashboard/${path}`)
    await page.locator('h1').waitFor()
    await expect(page.locator('.skeleton')).toHaveCount(0)
    expect(await faults(new AxeBuilder({ page })), `${path}, light`).toEqual([])
    await page.emulateMedia({ colorScheme: 'dark' })
    expect(await faults(new AxeBuilder({ page }).withRules(['color-contrast'])), `${path}, dark`).toEqual([])
  }
})

test('make a key, log in with it elsewhere, revoke it: logged out', async ({ browser }) => {
  await page.goto('/dashboard/settings/keys')
  await page.getByRole('button', { name: 'New key' }).click()
  const name = `flows-${Date.now().toString(36)}`
  await page.getByRole('dialog').getByLabel('Name').fill(name)
  await page.getByRole('dialog').getByLabel('Role').selectOption('viewer')
  await page.getByRole('button', { name: 'Make the key' }).click()
  const shown = page.getByRole('dialog', { name: `The key ${name}` })
  const made = (await shown.locator('code').textContent()) ?? ''
  await shown.getByRole('button', { name: 'I have kept it' }).click()

  const other = await browser.newPage({ baseURL: base })
  await other.goto('/dashboard/login')
  await login(other, made)
  await other.getByRole('link', { name: 'Containers', exact: true }).click()
  await expect(other.locator('h1')).toHaveText('Containers')
  await expect(other.getByRole('button', { name: /^Create/ })).toHaveCount(0)

  await page.getByRole('button', { name: `Revoke ${name}` }).click()
  await page.getByRole('dialog', { name: `Revoke ${name}?` }).getByRole('button', { name: 'Revoke' }).click()
  await expect(other.getByText('The session has ended')).toBeVisible({ timeout: 20_000 })
  await expect(other).toHaveURL(/login/)
  await other.close()
})
