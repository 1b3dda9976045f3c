import { LoaderCircle } from 'lucide-react'
import { cn } from '@/lib/cn'

export const Spinner = ({ className = 'size-4' }: { className?: string }) => <LoaderCircle aria-hidden className={cn('spin', className)} />
