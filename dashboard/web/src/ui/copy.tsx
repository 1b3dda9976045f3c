import { Check, Copy as CopyIcon } from 'lucide-react'
import { useEffect, useState } from 'react'
import { IconButton } from './button'

/** copyText puts text on the clipboard; where the page is not on HTTPS, by way of a text field. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text)
  const field = document.createElement('textarea')
  field.value = text
  field.style.position = 'fixed'
  field.style.opacity = '0'
  const dialog = document.activeElement?.closest('[role=dialog]') ?? document.body
  dialog.append(field)
  field.select()
  document.execCommand('copy')
  field.remove()
}

export function Copy({ text, label = 'Copy', className }: { text: string; label?: string; className?: string }) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return undefined
    const timer = setTimeout(() => setCopied(false), 1_500)
    return () => clearTimeout(timer)
  }, [copied])
  return (
    <IconButton
      label={copied ? 'Copied' : label}
      className={className}
      onClick={(e) => {
        e.stopPropagation()
        void copyText(text).then(() => setCopied(true))
      }}
    >
      {copied ? <Check className="size-3.5 text-ok" /> : <CopyIcon className="size-3.5" />}
    </IconButton>
  )
}
