import type { Job } from '@/api/types'

/** isOpen says whether a job is not at its end yet. */
export const isOpen = (job: Pick<Job, 'status'>): boolean => job.status === 'queued' || job.status === 'running' || job.status === 'retrying'
