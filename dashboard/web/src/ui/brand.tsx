/** Mark is Berth's sign. */
export const Mark = ({ className }: { className?: string }) => (
  <svg aria-hidden viewBox="0 0 32 32" className={className}>
    <rect width="32" height="32" rx="8" className="fill-accent-fill" />
    <path d="M8 9h16M8 9v9a8 8 0 0 0 16 0V9M16 9v17" fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" strokeLinejoin="round" />
  </svg>
)
