import { Link, useRouter } from '@tanstack/react-router'
import { CircleHelp } from 'lucide-react'
import { buttonStyle } from '@/ui/button'
import { Empty, Problem } from '@/ui/panel'

/** Crash stands where a page could not be shown at all. */
export function Crash({ error, reset }: { error: unknown; reset: () => void }) {
  const router = useRouter()
  return (
    <main className="mx-auto max-w-lg p-6">
      <Problem
        what="This page cannot be shown."
        error={error}
        retry={() => {
          reset()
          void router.invalidate()
        }}
      />
    </main>
  )
}

export function Missing() {
  return (
    <main className="p-6">
      <Empty icon={CircleHelp} title="There is no such page">
        <Link to="/" className={buttonStyle()}>
          Go to the overview
        </Link>
      </Empty>
    </main>
  )
}
