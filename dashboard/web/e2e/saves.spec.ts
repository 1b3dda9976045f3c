import { type Locator, type Page, expect, test } from '@playwright/test'

// Against the real program and a real S3 server that fails when it is told to: internal/e2e starts them and this.
const base = process.env.BASE_URL ?? ''
const faults = process.env.STORE_FAULTS ?? '' // ?status=503 lets the store answer so from now on, 0 ends it; answers the plain files that are in the bucket
const bucket = process.env.BUCKET ?? ''
const prefix = process.env.PREFIX ?? ''

test.describe.configure({ mode: 'serial' })
test.skip(base === '' || faults === '', 'internal/e2e starts what this needs: LAB=… RUN=TestDashboardOfWorkspaces make lab-test')

let page: Page
let drawer: Locator
let notes: Locator
let id = ''
let ofFirstRun: string[] = [] // each run leaves a file of its own

test.beforeAll(async ({ browser }) => {
  page = await (await browser.newContext({ baseURL: base, viewport: { width: 1440, height: 900 } })).newPage()
  notes = page.getByRole('region', { name: 'Notifications' })
  await page.goto('/dashboard/containers')
  await page.getByLabel('API key').fill(process.env.ADMIN_KEY ?? '')
  await page.getByRole('button', { name: 'Log in' }).click()
  await expect(page.locator('h1')).toHaveText('Containers')
})
test.afterAll(async () => page.context().close())

const storeAnswers = async (status: number): Promise<string[]> => (await fetch(`${faults}/?status=${status}`)).json() as Promise<string[]>
const press = (name: string) => drawer.getByRole('button', { name, exact: true }).click()
const tab = (name: string) => drawer.getByRole('tab', { name }).click()
// state waits for the status in the drawer's head, which every tab shows.
const state = (status: string) => expect(drawer.getByText(status, { exact: true }).first()).toBeVisible({ timeout: 90_000 })
const fact = (name: string) => drawer.locator('dt').filter({ hasText: new RegExp(`^${name}$`) }).locator('xpath=following-sibling::dd[1]')

test('create with credentials of the bucket, and save now', async () => {
  await page.getByRole('button', { name: /^Create/ }).first().click()
  const dialog = page.getByRole('dialog', { name: 'Create a container' })
  await dialog.getByLabel('Template').selectOption('writer')
  await dialog.getByLabel('Bucket', { exact: true }).fill(bucket)
  await dialog.getByLabel('Folder').fill(prefix)
  await dialog.locator('summary').click()
  await dialog.getByLabel('Access key ID').fill(process.env.S3_KEY ?? '')
  await dialog.getByLabel('Secret access key').fill(process.env.S3_SECRET ?? '')
  await dialog.getByRole('button', { name: 'Create' }).click()
  await expect(page).toHaveURL(/open=[a-z0-9]{13}/)
  id = new URL(page.url()).searchParams.get('open') ?? ''
  drawer = page.getByRole('dialog').filter({ hasText: id }).first()
  await state('running')
  await tab('Workspace')
  await press('Save now')
  await expect(notes).toContainText(`Save ${id}`)
  await expect(fact('Files')).toHaveText('1')
  ofFirstRun = await storeAnswers(0)
  expect(ofFirstRun).toHaveLength(1)
})

test('stop, start, stop: each stop leaves a verified save', async () => {
  await press('Stop')
  await state('stopped')
  await expect(fact('Verified')).toContainText('yes')
  await press('Start')
  await state('running')
  await expect(fact('Files')).toHaveText('2', { timeout: 60_000 }) // it was saved since
  await press('Stop')
  await state('stopped')
  await expect(fact('Verified')).toContainText('yes')
  await expect(fact('Files')).toHaveText('2')
})

test('go back to the first save: what came later is not there', async () => {
  const first = drawer.getByRole('listitem').filter({ has: page.getByText('1', { exact: true }) })
  await first.getByRole('button', { name: 'Go back to it' }).click()
  await page.getByRole('dialog', { name: 'Go back to save 1?' }).getByRole('button', { name: 'Start from it' }).click()
  await expect(notes).toContainText(`Go back to save 1 of ${id}`)
  await state('running')
  await press('Stop')
  await state('stopped')
  const files = await storeAnswers(0)
  expect(files, 'the second run has left a file that was gone back behind').toHaveLength(2)
  expect(files).toEqual(expect.arrayContaining(ofFirstRun))
})

test('a start that the store refuses fails with its reason; tried again, it runs', async () => {
  await storeAnswers(403)
  await press('Start')
  await state('failed')
  await tab('Overview')
  await expect(drawer.getByText('It has failed')).toBeVisible()
  await storeAnswers(0)
  await drawer.getByRole('link', { name: 'Show the job' }).click()
  const job = page.getByRole('dialog').filter({ hasText: 'Container start' }).first()
  await expect(job.getByText('It failed')).toBeVisible()
  await job.getByRole('button', { name: 'Try again' }).click()
  await page.goto(`/dashboard/containers?open=${id}`)
  drawer = page.getByRole('dialog').filter({ hasText: id }).first()
  await state('running')
})

test('a start that waits for the store is cancelled', async () => {
  await press('Stop')
  await state('stopped')
  await storeAnswers(503)
  await press('Start')
  await state('starting')
  const last = async () => (await page.evaluate(async (at) => ((await (await fetch(`/api/containers/${at}`)).json()) as { jobId: string }).jobId, id)) as string
  await page.goto(`/dashboard/jobs?open=${encodeURIComponent(await last())}`)
  const job = page.getByRole('dialog').filter({ hasText: 'Container start' }).first()
  await job.getByRole('button', { name: 'Cancel' }).click()
  await expect(job.getByText('canceled', { exact: true }).first()).toBeVisible({ timeout: 60_000 })
  await storeAnswers(0)
  await page.goto(`/dashboard/containers?open=${id}`)
  drawer = page.getByRole('dialog').filter({ hasText: id }).first()
  await drawer.getByRole('button', { name: 'Start', exact: true }).click()
  await state('running')
})

test('a stop that cannot save goes on trying; forced, it gives the files up, and says so before', async () => {
  await storeAnswers(503)
  await press('Stop')
  await state('stopping')
  await drawer.getByRole('button', { name: 'More actions' }).click()
  await page.getByRole('menuitem', { name: 'Force-stop' }).click()
  const question = page.getByRole('dialog', { name: `Force-stop ${id}?` })
  await expect(question).toContainText('what was changed since the last save is lost')
  await question.getByRole('button', { name: 'Force-stop' }).click()
  await expect(notes).toContainText(`Force-stop ${id}`)
  await state('stopped')
  await storeAnswers(0)
})
