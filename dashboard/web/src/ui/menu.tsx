import { Menu as Base } from '@base-ui/react/menu'
import type { LucideIcon } from 'lucide-react'
import type { ReactElement, ReactNode } from 'react'
import { cn } from '@/lib/cn'

/** Item is one line of a menu; "-" is a separator. */
export type Item = '-' | { label: string; icon?: LucideIcon; run: () => void; danger?: boolean; disabled?: boolean; hint?: string } | { label: string; icon?: LucideIcon; href: string }

const row = 'flex min-h-8 w-full cursor-default items-center gap-2 rounded-md px-2 text-sm outline-none select-none data-[disabled]:opacity-50 data-[highlighted]:bg-hover'

/** Menu opens at its trigger. Or, controlled, at any element: one menu for all rows of a long table. */
export function Menu({ items, trigger, open, anchor, onClose, label }: { items: Item[]; trigger?: ReactElement; open?: boolean; anchor?: Element | null; onClose?: () => void; label?: string }) {
  const controlled = trigger ? {} : { open: open ?? false, onOpenChange: (o: boolean) => !o && onClose?.() }
  return (
    <Base.Root modal={false} {...controlled}>
      {trigger && <Base.Trigger render={trigger} />}
      <Base.Portal keepMounted>
        <Base.Positioner anchor={anchor ?? undefined} sideOffset={4} align="end" className="z-50 outline-none">
          <Base.Popup aria-label={label} finalFocus={trigger ? true : () => (anchor instanceof HTMLElement ? anchor : true)} className="popup min-w-44 origin-(--transform-origin) rounded-lg border border-line bg-raised p-1 shadow-pop outline-none">
            {items.map((item, i) => (
              <MenuRow key={item === '-' ? `-${i}` : item.label} item={item} />
            ))}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  )
}

function MenuRow({ item }: { item: Item }) {
  if (item === '-') return <Base.Separator className="my-1 h-px bg-line" />
  const Icon = item.icon
  const content: ReactNode = (
    <>
      {Icon && <Icon aria-hidden className="size-4 shrink-0 opacity-80" />}
      <span className="flex-1">{item.label}</span>
    </>
  )
  if ('href' in item)
    return (
      <Base.LinkItem href={item.href} target="_blank" rel="noreferrer" closeOnClick className={row}>
        {content}
      </Base.LinkItem>
    )
  return (
    <Base.Item onClick={item.run} disabled={item.disabled ?? false} className={cn(row, item.danger && 'text-bad')}>
      {content}
      {item.hint && <span className="text-xs text-muted">{item.hint}</span>}
    </Base.Item>
  )
}
