import { mkdirSync } from 'node:fs'
import { expect, test } from '@playwright/test'
import { open, show, views } from './views'

const folder = process.env.SCREENSHOTS ?? 'screenshots'

const modes = [
  { mode: 'light', scheme: 'light', width: 1440, height: 900 },
  { mode: 'dark', scheme: 'dark', width: 1440, height: 900 },
  { mode: '390', scheme: 'light', width: 390, height: 844 },
] as const

for (const { mode, scheme, width, height } of modes)
  test(`every page, ${mode}`, async ({ browser }) => {
    test.setTimeout(240_000)
    mkdirSync(folder, { recursive: true })
    const fleet = await open()
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce' })
    for (const view of views(fleet)) {
      const page = await context.newPage()
      await show(page, fleet, view)
      if (view.name === 'create') {
        await page.getByLabel('Bucket', { exact: true }).fill('alice-workspace')
        await page.getByText(/^Fits on \d/).waitFor()
      }
      await expect(page.locator('.skeleton')).toHaveCount(0)
      await page.screenshot({ path: `${folder}/${view.name}-${mode}.png` })
      await page.close()
    }
    await fleet.close()
  })
