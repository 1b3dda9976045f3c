import { gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'

// Limits in kB of gzip: what a first visit loads before any page, and what one page adds to that.
const INITIAL_GOAL = 130
const INITIAL_LIMIT = 150
const ROUTE_LIMIT = 60

interface Chunk {
  fileName: string
  isEntry: boolean
  isDynamicEntry: boolean
  name: string
  imports: string[]
  dynamicImports: string[]
  size: number
}

/** budget prints what each page weighs, and fails the build when one is over its limit. */
export function budget(): Plugin {
  return {
    name: 'berth-budget',
    apply: 'build',
    writeBundle(_, bundle) {
      const chunks = new Map<string, Chunk>()
      for (const out of Object.values(bundle)) {
        if (out.type !== 'chunk') continue
        chunks.set(out.fileName, {
          fileName: out.fileName,
          isEntry: out.isEntry,
          isDynamicEntry: out.isDynamicEntry,
          name: out.name,
          imports: out.imports,
          dynamicImports: out.dynamicImports,
          size: gzipSync(out.code, { level: 9 }).length / 1000,
        })
      }
      const entry = [...chunks.values()].find((c) => c.isEntry)
      if (!entry) throw new Error('the build has no entry')
      const initial = closure(chunks, entry, new Set())
      const total = weigh(chunks, initial)
      const over: string[] = []
      if (total > INITIAL_LIMIT) over.push(`the first load is ${total.toFixed(1)} kB, the limit is ${INITIAL_LIMIT} kB`)
      const lines = [`first load ${total.toFixed(1)} kB gzip (goal ${INITIAL_GOAL}, limit ${INITIAL_LIMIT})`]
      for (const chunk of chunks.values()) {
        if (!chunk.isDynamicEntry) continue
        // What is loaded late within a page comes on top of that page, not of the first load alone.
        const from = [...chunks.values()].find((c) => c.dynamicImports.includes(chunk.fileName))
        const there = from ? closure(chunks, from, new Set(initial)) : new Set(initial)
        const own = closure(chunks, chunk, new Set(there))
        for (const name of there) own.delete(name)
        const size = weigh(chunks, own)
        lines.push(`  ${chunk.name.padEnd(12)} ${size.toFixed(1).padStart(6)} kB`)
        if (size > ROUTE_LIMIT) over.push(`${chunk.name} is ${size.toFixed(1)} kB, the limit is ${ROUTE_LIMIT} kB`)
      }
      console.log(lines.join('\n'))
      if (over.length > 0) throw new Error(`over the budget: ${over.join('; ')}`)
    },
  }
}

function closure(chunks: Map<string, Chunk>, from: Chunk, seen: Set<string>): Set<string> {
  if (seen.has(from.fileName)) return seen
  seen.add(from.fileName)
  for (const name of from.imports) {
    const next = chunks.get(name)
    if (next) closure(chunks, next, seen)
  }
  return seen
}

function weigh(chunks: Map<string, Chunk>, names: Set<string>): number {
  let sum = 0
  for (const name of names) sum += chunks.get(name)?.size ?? 0
  return sum
}
