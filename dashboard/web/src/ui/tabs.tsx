import type { ReactNode } from 'react'
import { cn } from '@/lib/cn'

export interface Tab<T extends string> {
  id: T
  label: ReactNode
}

/** Tabs are the parts of a drawer or a page; arrow keys go from one to the next. */
export function Tabs<T extends string>({ tabs, value, onChange, label, className }: { tabs: readonly Tab<T>[]; value: T; onChange: (v: T) => void; label: string; className?: string }) {
  return (
    <div
      role="tablist"
      aria-label={label}
      tabIndex={-1}
      className={cn('flex gap-1 overflow-x-auto', className)}
      onKeyDown={(e) => {
        const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0
        if (step === 0) return
        e.preventDefault()
        const at = tabs.findIndex((t) => t.id === value)
        const to = tabs[(at + step + tabs.length) % tabs.length]
        if (!to) return
        onChange(to.id)
        e.currentTarget.querySelector<HTMLElement>(`[data-tab="${to.id}"]`)?.focus()
      }}
    >
      {tabs.map((t) => (
        <button
          key={t.id}
          type="button"
          role="tab"
          data-tab={t.id}
          aria-selected={t.id === value}
          tabIndex={t.id === value ? 0 : -1}
          onClick={() => onChange(t.id)}
          className={cn('-mb-px h-9 shrink-0 border-b-2 px-2 text-sm font-medium -outline-offset-2', t.id === value ? 'border-accent text-fg' : 'border-transparent text-muted hover:text-fg')}
        >
          {t.label}
        </button>
      ))}
    </div>
  )
}
