import { describe, expect, it } from 'vitest'
import { fault, limit } from './limits'

describe('the limits of the OpenAPI document', () => {
  it('are there for what the forms send', () => {
    expect(limit('CreateContainerRequest', 's3Bucket')).toMatchObject({ required: true, maxLength: 63 })
    expect(limit('ResourceRequest', 'cpuLimit')).toMatchObject({ minimum: 0.05, maximum: 512 })
    expect(limit('WebhookRequest', 'events').items).toContain('container.running')
  })

  it('find what is wrong before the server is asked', () => {
    expect(fault(limit('CreateContainerRequest', 's3Bucket'), '')).toBe('This is needed.')
    expect(fault(limit('CreateContainerRequest', 's3Bucket'), 'x'.repeat(64))).toBe('At most 63 characters.')
    expect(fault(limit('ResourceRequest', 'cpuLimit'), '0.01', 'number')).toBe('At least 0.05.')
    expect(fault(limit('ResourceRequest', 'cpuLimit'), 'two', 'number')).toBe('This is no number.')
    expect(fault(limit('CreateContainerRequest', 'vncPassword'), 'käse123')).toBe('There are characters in it that are not allowed.')
    expect(fault(limit('CreateContainerRequest', 'vncPassword'), '')).toBeUndefined()
  })
})
