import { clsx } from 'clsx'

/** cn joins class names. Two that contradict each other do not belong together: which holds is the style sheet's order. */
export const cn = clsx
