// Writes src/api/schema.d.ts (types of every operation) and src/api/limits.ts (what forms check) from the OpenAPI
// document. --check fails when one of them is stale.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString } from 'openapi-typescript'
import { parse } from 'yaml'

const source = new URL('../../../openapi/openapi.yaml', import.meta.url)
const note = '// Generated from openapi/openapi.yaml by npm run generate: do not edit.\n'
const document = parse(readFileSync(source, 'utf8'))

const files = new Map([
  ['../src/api/schema.d.ts', note + astToString(await openapiTS(source, { alphabetize: true }))],
  ['../src/api/limits.ts', note + limits()],
])

const stale = []
for (const [name, text] of files) {
  const path = fileURLToPath(new URL(name, import.meta.url))
  if (!process.argv.includes('--check')) writeFileSync(path, text)
  else if (read(path) !== text) stale.push(name.slice(3))
}
if (stale.length > 0) {
  console.error(`${stale.join(' and ')}: stale, run npm run generate in dashboard/web`)
  process.exit(1)
}

function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

// limits are the constraints of the bodies that the dashboard's forms send.
function limits() {
  const out = {}
  const visit = (name) => {
    const schema = document.components.schemas[name]
    if (out[name] || !schema?.properties) return
    out[name] = {}
    for (const [key, value] of Object.entries(schema.properties)) {
      const items = value.items ?? {}
      const kept = { required: schema.required?.includes(key) ?? false, description: value.description }
      for (const k of ['minimum', 'maximum', 'minLength', 'maxLength', 'pattern', 'enum', 'maxItems', 'maxProperties'])
        if (value[k] !== undefined) kept[k] = value[k]
      if (value.examples) kept.example = value.examples[0]
      if (items.enum) kept.items = items.enum
      out[name][key] = kept
      const ref = value.$ref ?? items.$ref
      if (ref) visit(ref.split('/').pop())
    }
  }
  for (const methods of Object.values(document.paths))
    for (const operation of Object.values(methods)) {
      const ref = operation.requestBody?.content?.['application/json']?.schema?.$ref
      if (ref) visit(ref.split('/').pop())
    }
  const sorted = Object.fromEntries(Object.entries(out).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  return `export const limits = ${JSON.stringify(sorted, null, 2)} as const\n`
}
