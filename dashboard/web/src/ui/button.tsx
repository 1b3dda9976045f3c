import { type VariantProps, cva } from 'class-variance-authority'
import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'
import { Spinner } from './spinner'

export const buttonStyle = cva(
  'inline-flex shrink-0 items-center justify-center gap-1.5 rounded-md font-medium whitespace-nowrap transition-colors select-none disabled:pointer-events-none disabled:opacity-50 [&_svg]:shrink-0',
  {
    variants: {
      look: {
        primary: 'bg-accent-fill text-on-accent hover:brightness-110',
        secondary: 'border border-line bg-raised text-fg hover:bg-hover',
        ghost: 'text-muted hover:bg-hover hover:text-fg',
        danger: 'bg-bad-fill text-on-accent hover:brightness-110',
        quiet: 'border border-line bg-raised text-bad hover:bg-bad-soft',
      },
      size: {
        md: 'h-8 px-3 text-sm',
        lg: 'h-9 w-full px-3 text-sm',
        sm: 'h-7 px-2 text-xs',
        icon: 'size-7',
        iconMd: 'size-8',
      },
    },
    defaultVariants: { look: 'secondary', size: 'md' },
  },
)

type ButtonProps = ComponentProps<'button'> & VariantProps<typeof buttonStyle> & { busy?: boolean }

/** Button is a button; while it is busy it takes no second press. */
export function Button({ look, size, busy, className, children, disabled, type = 'button', ...rest }: ButtonProps) {
  return (
    // oxlint-disable-next-line react/button-has-type -- one of the three, with a default
    <button type={type} className={cn(buttonStyle({ look, size }), className)} disabled={disabled || busy} {...rest}>
      {busy && <Spinner className="size-3.5" />}
      {children}
    </button>
  )
}

/** IconButton is a button that shows a sign only; its label is read out, and shown on hover. */
export function IconButton({ label, look = 'ghost', size = 'icon', ...rest }: Omit<ButtonProps, 'title'> & { label: string }) {
  return <Button look={look} size={size} aria-label={label} title={label} {...rest} />
}
