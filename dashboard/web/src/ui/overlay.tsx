import { Dialog } from '@base-ui/react/dialog'
import { X } from 'lucide-react'
import { type ReactNode, useRef, useState } from 'react'
import { cn } from '@/lib/cn'
import { Button, IconButton } from './button'
import { Field, Input } from './field'

// Popups stay mounted: an unmounted one leaves an invisible backdrop behind. What they show goes with their content.

interface OverlayProps {
  open: boolean
  onClose: () => void
  title: ReactNode
  children: ReactNode
}

/** Modal is a dialog over the page, which waits for it. */
export function Modal({ open, onClose, title, children, footer, wide }: OverlayProps & { footer?: ReactNode; wide?: boolean }) {
  return (
    <Dialog.Root open={open} onOpenChange={(o) => !o && onClose()}>
      <Dialog.Portal keepMounted>
        <Dialog.Backdrop className="backdrop fixed inset-0 z-40 bg-[rgb(10_11_15/45%)]" />
        <Dialog.Popup
          className={cn(
            'modal fixed top-1/2 left-1/2 z-50 flex max-h-[calc(100dvh-2rem)] w-[calc(100vw-2rem)] -translate-x-1/2 -translate-y-1/2 flex-col rounded-xl border border-line bg-raised shadow-pop outline-none',
            wide ? 'max-w-2xl' : 'max-w-md',
          )}
        >
          <div className="flex items-center gap-2 border-b border-line py-2.5 pr-2.5 pl-4">
            <Dialog.Title className="min-w-0 truncate text-base font-semibold">{title}</Dialog.Title>
            <Dialog.Close render={<IconButton label="Close" className="ml-auto" />}>
              <X className="size-4" />
            </Dialog.Close>
          </div>
          <div className="min-h-0 flex-1 overflow-y-auto p-4">{open && children}</div>
          {footer && open && <div className="flex flex-wrap items-center justify-end gap-2 border-t border-line px-4 py-3">{footer}</div>}
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}

/** Drawer shows one thing beside the list it is of; the list stays usable. */
export function Drawer({ open, onClose, title, children, header }: OverlayProps & { header?: ReactNode }) {
  const popup = useRef<HTMLDivElement>(null)
  return (
    <Dialog.Root open={open} onOpenChange={(o) => !o && onClose()} modal={false} disablePointerDismissal>
      <Dialog.Portal keepMounted>
        <Dialog.Popup
          ref={popup}
          initialFocus={popup}
          className="drawer fixed inset-y-0 right-0 z-30 flex w-full max-w-[620px] flex-col border-l border-line bg-surface shadow-pop outline-none"
        >
          <div className="border-b border-line">
            <div className="flex min-h-12 items-center gap-2 py-2 pr-2.5 pl-4">
              <Dialog.Title className="flex min-w-0 flex-1 items-center gap-2 text-base font-semibold">{title}</Dialog.Title>
              <Dialog.Close render={<IconButton label="Close" />}>
                <X className="size-4" />
              </Dialog.Close>
            </div>
            {open && header}
          </div>
          <div className="min-h-0 flex-1 overflow-y-auto">{open && children}</div>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}

/** Question is what a Confirm asks. With typed, that text has to be typed first: where work is destroyed. */
export interface Question {
  title: string
  body: ReactNode
  action: string
  typed?: string
  run: () => Promise<unknown> | void
}

/** Confirm asks before what cannot be taken back. */
export function Confirm({ question, onClose }: { question: Question | undefined; onClose: () => void }) {
  const [shown, setShown] = useState(question)
  if (question && question !== shown) setShown(question)
  return (
    <Modal open={question !== undefined} onClose={onClose} title={shown?.title}>
      {shown && <ConfirmBody key={shown.title} question={shown} onClose={onClose} />}
    </Modal>
  )
}

function ConfirmBody({ question, onClose }: { question: Question; onClose: () => void }) {
  const [text, setText] = useState('')
  const ready = !question.typed || text === question.typed
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault()
        if (!ready) return
        onClose()
        void question.run()
      }}
    >
      <div className="space-y-2">{question.body}</div>
      {question.typed && (
        <Field label={`Type ${question.typed} to go on`} className="mt-3">
          <Input value={text} onChange={(e) => setText(e.target.value)} autoComplete="off" spellCheck={false} className="font-mono" />
        </Field>
      )}
      <div className="mt-4 flex justify-end gap-2">
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" look="danger" disabled={!ready}>
          {question.action}
        </Button>
      </div>
    </form>
  )
}
