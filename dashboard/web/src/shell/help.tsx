import { Modal } from '@/ui/overlay'

/** Help lists the keys. */
export default function Help({ open, onClose, pages }: { open: boolean; onClose: () => void; pages: { label: string; key: string }[] }) {
  const rows: [string, string][] = [
    ['Ctrl K or ⌘ K', 'Find or do anything'],
    ['/', 'Search on this page'],
    ...pages.map((p): [string, string] => [p.key, p.label]),
    ['j, k', 'Next and previous row'],
    ['Enter', 'Open the row'],
    ['x', 'Choose the row'],
    ['Esc', 'Close, or clear the search'],
    ['?', 'This list'],
  ]
  return (
    <Modal open={open} onClose={onClose} title="Keys">
      <dl className="grid grid-cols-[max-content_1fr] gap-x-6 gap-y-2">
        {rows.map(([key, what]) => (
          <div key={key} className="contents">
            <dt>
              <kbd className="rounded border border-line bg-sunken px-1.5 py-0.5 font-mono text-xs">{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  )
}
