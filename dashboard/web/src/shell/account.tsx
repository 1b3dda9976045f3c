import { KeyRound, LogOut, Monitor, Moon, Rows3, Rows4, Sun } from 'lucide-react'
import { logout, sessionQuery, queryClient } from '@/api/queries'
import type { Session } from '@/api/types'
import { cn } from '@/lib/cn'
import { setPref, usePrefs } from '@/lib/prefs'
import { sayError } from '@/lib/toasts'
import { leave } from '@/router'
import { type Item, Menu } from '@/ui/menu'

/** Account is who is logged in, and how this browser shows things. */
export default function Account({ session, compact }: { session: Session; compact?: boolean }) {
  const { theme, density } = usePrefs()
  const themes = [
    ['system', 'As the system', Monitor],
    ['light', 'Light', Sun],
    ['dark', 'Dark', Moon],
  ] as const
  const items: Item[] = [
    ...themes.map(([id, label, icon]): Item => ({ label, icon, run: () => setPref('theme', id), ...(theme === id ? { hint: '✓' } : {}) })),
    '-',
    { label: 'Comfortable rows', icon: Rows3, run: () => setPref('density', 'comfortable'), ...(density === 'comfortable' ? { hint: '✓' } : {}) },
    { label: 'Compact rows', icon: Rows4, run: () => setPref('density', 'compact'), ...(density === 'compact' ? { hint: '✓' } : {}) },
    '-',
    {
      label: 'Log out',
      icon: LogOut,
      run: () =>
        void logout()
          .then(() => {
            queryClient.removeQueries({ queryKey: sessionQuery.queryKey })
            leave()
          })
          .catch((e: unknown) => sayError('Log out', e)),
    },
  ]
  return (
    <Menu
      label="Account"
      items={items}
      trigger={
        <button type="button" aria-label={`Account: ${session.name}, ${session.role}`} className={cn('flex items-center gap-2 rounded-md text-left hover:bg-hover', compact ? 'size-8 justify-center' : 'h-10 w-full px-2')}>
          <span className="grid size-6 shrink-0 place-items-center rounded-full bg-selected text-accent">
            <KeyRound aria-hidden className="size-3.5" />
          </span>
          {!compact && (
            <span className="min-w-0 leading-4">
              <span className="block truncate text-sm font-medium">{session.name}</span>
              <span className="block text-xs text-muted">{session.role}</span>
            </span>
          )}
        </button>
      }
    />
  )
}
