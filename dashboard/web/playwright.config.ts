import { defineConfig } from '@playwright/test'

// flows and saves run against a real control plane (BASE_URL, ADMIN_KEY; internal/e2e starts one); the others against e2e/fleet.mjs.
const rules = process.env.HOST_RULES

export default defineConfig({
  testDir: 'e2e',
  outputDir: process.env.PLAYWRIGHT_OUTPUT ?? 'test-results',
  workers: 2,
  timeout: 90_000,
  expect: { timeout: 15_000 },
  forbidOnly: Boolean(process.env.CI),
  // A test that fails and then passes is reported as flaky. flows and saves are run again with a new control plane.
  reporter: process.env.PLAYWRIGHT_REPORT ? [['list'], ['json', { outputFile: process.env.PLAYWRIGHT_REPORT }]] : [['list']],
  use: {
    browserName: 'chromium',
    viewport: { width: 1440, height: 900 },
    actionTimeout: 15_000,
    screenshot: 'only-on-failure',
    trace: 'on-first-retry',
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-quic', ...(rules ? [`--host-resolver-rules=${rules}`] : [])],
    },
  },
  projects: [
    { name: 'pages', testMatch: 'pages.spec.ts', fullyParallel: true, retries: process.env.CI ? 1 : 0 },
    { name: 'flows', testMatch: 'flows.spec.ts', timeout: 240_000 },
    { name: 'saves', testMatch: 'saves.spec.ts', timeout: 240_000 },
    { name: 'screenshots', testMatch: 'screenshots.spec.ts' },
  ],
})
