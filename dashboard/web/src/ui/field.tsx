import { ChevronDown, Search, X } from 'lucide-react'
import { type ComponentProps, type ReactNode, createContext, useContext, useId } from 'react'
import { cn } from '@/lib/cn'

interface FieldContext {
  id: string
  describedBy: string | undefined
  invalid: boolean
  required: boolean
}

const Context = createContext<FieldContext | undefined>(undefined)

const box =
  'rounded-md border border-line-strong/60 bg-raised text-sm text-fg placeholder:text-muted hover:border-line-strong focus-visible:outline-2 focus-visible:-outline-offset-1 focus-visible:outline-accent disabled:opacity-60 aria-invalid:border-bad'

/** Field is a labelled place for one control, with a hint and what is wrong with it. */
export function Field({ label, hint, error, required = false, children, className }: { label: ReactNode; hint?: ReactNode; error?: string | undefined; required?: boolean; children: ReactNode; className?: string }) {
  const id = useId()
  const describedBy = [hint ? `${id}-hint` : '', error ? `${id}-error` : ''].filter(Boolean).join(' ') || undefined
  return (
    <Context value={{ id, describedBy, invalid: Boolean(error), required }}>
      <div className={cn('min-w-0', className)}>
        <label htmlFor={id} className="mb-1 block text-xs font-medium">
          {label}
          {!required && <span className="sr-only"> (optional)</span>}
        </label>
        {children}
        {error && (
          <p id={`${id}-error`} className="mt-1 text-xs text-bad">
            {error}
          </p>
        )}
        {hint && (
          <p id={`${id}-hint`} className="mt-1 text-xs text-muted">
            {hint}
          </p>
        )}
      </div>
    </Context>
  )
}

function useField() {
  const f = useContext(Context)
  return f ? { id: f.id, 'aria-describedby': f.describedBy, 'aria-invalid': f.invalid || undefined, 'aria-required': f.required || undefined } : {}
}

export function Input({ className = 'w-full', ...rest }: ComponentProps<'input'>) {
  return <input {...useField()} className={cn(box, 'h-8 px-2.5', className)} {...rest} />
}

export function TextArea({ className, ...rest }: ComponentProps<'textarea'>) {
  return <textarea {...useField()} className={cn(box, 'min-h-16 w-full px-2.5 py-1.5', className)} {...rest} />
}

export function Select({ className = 'w-full', children, ...rest }: ComponentProps<'select'>) {
  return (
    <span className={cn('relative inline-block', className)}>
      <select {...useField()} className={cn(box, 'h-8 w-full appearance-none truncate pr-7 pl-2.5')} {...rest}>
        {children}
      </select>
      <ChevronDown aria-hidden className="pointer-events-none absolute top-2 right-2 size-4 text-muted" />
    </span>
  )
}

export function Checkbox({ label, className, ...rest }: ComponentProps<'input'> & { label: ReactNode }) {
  return (
    <label className={cn('flex min-h-6 cursor-pointer items-center gap-2 text-sm', className)}>
      <input type="checkbox" className="size-4 shrink-0 accent-accent-fill" {...rest} />
      <span className="min-w-0">{label}</span>
    </label>
  )
}

/** SearchField is the page's search; "/" goes to it from everywhere. */
export function SearchField({ value, onChange, label, className }: { value: string; onChange: (v: string) => void; label: string; className?: string }) {
  return (
    <span className={cn('relative inline-block', className)}>
      <Search aria-hidden className="pointer-events-none absolute top-2 left-2.5 size-4 text-muted" />
      <input
        type="search"
        data-search
        value={value}
        maxLength={200}
        aria-label={label}
        placeholder={label}
        autoComplete="off"
        spellCheck={false}
        onChange={(e) => onChange(e.target.value)}
        onKeyDown={(e) => {
          if (e.key !== 'Escape') return
          if (value === '') e.currentTarget.blur()
          else onChange('')
          e.stopPropagation()
        }}
        className={cn(box, 'h-8 w-full pr-8 pl-8 [&::-webkit-search-cancel-button]:hidden')}
      />
      {value === '' ? (
        <kbd aria-hidden className="pointer-events-none absolute top-1.5 right-2 rounded border border-line px-1.5 font-mono text-xs text-muted max-md:hidden">
          /
        </kbd>
      ) : (
        <button type="button" aria-label="Clear the search" onClick={() => onChange('')} className="absolute top-1 right-1 grid size-6 place-items-center rounded text-muted hover:text-fg">
          <X className="size-3.5" />
        </button>
      )}
    </span>
  )
}
