import type { ReactNode } from 'react'
import { cn } from '@/lib/cn'

/** Facts are names and values, side by side. */
export function Facts({ children, className }: { children: ReactNode; className?: string }) {
  return <dl className={cn('grid grid-cols-[minmax(7rem,max-content)_1fr] gap-x-4 gap-y-1.5', className)}>{children}</dl>
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt className="text-muted">{name}</dt>
      <dd className="min-w-0 break-words">{children}</dd>
    </>
  )
}

/** PageHead is a page's name and what can be done on it. */
export function PageHead({ title, children, note }: { title: string; children?: ReactNode; note?: ReactNode }) {
  return (
    <header className="flex flex-wrap items-center gap-2 pb-3">
      <h1 className="text-lg font-semibold tracking-tight">{title}</h1>
      {note && <span className="text-muted">{note}</span>}
      {children && <div className="ml-auto flex flex-wrap items-center gap-2">{children}</div>}
    </header>
  )
}
