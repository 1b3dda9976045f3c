import { describe, expect, it } from 'vitest'
import { emptyForm, faults, placesOf, requestOf } from './form'

const form = { ...emptyForm, s3Bucket: 'alice' }

describe('the form', () => {
  it('needs a bucket and nothing else', () => {
    expect(Object.keys(faults(emptyForm))).toEqual(['s3Bucket'])
    expect(faults(form)).toEqual({})
    expect(requestOf(form)).toEqual({ s3Bucket: 'alice' })
  })

  it('asks for what was typed, in the units of the API', () => {
    expect(requestOf({ ...form, template: 'python', cpuLimit: '0.5', memoryLimit: '2 G', idleMinutes: '30', labels: 'course=cs101\nnote=a=b\n', webhook: 'https://x.example', placement: 'node.labels.gpu==true' })).toEqual({
      s3Bucket: 'alice',
      template: 'python',
      resources: { cpuLimit: 0.5, memoryLimit: '2g' },
      idleTimeout: 1_800,
      labels: { course: 'cs101', note: 'a=b' },
      webhook: { url: 'https://x.example' },
      placement: { constraints: ['node.labels.gpu==true'] },
    })
    expect(requestOf({ ...form, idleMinutes: '0' }).idleTimeout).toBe(0)
  })

  it('says what is wrong in which field', () => {
    expect(Object.keys(faults({ ...form, cpuLimit: '1000', memoryLimit: 'much', idleMinutes: '-1', awsAccessKeyId: 'AKIA', labels: 'x', webhook: 'ftp://x', vncPassword: '123' })).toSorted()).toEqual(['awsSecretAccessKey', 'cpuLimit', 'idleMinutes', 'labels', 'memoryLimit', 'vncPassword', 'webhook'])
  })

  it('puts what the server says to the field it is about', () => {
    expect(placesOf([{ location: 'body.resources.cpuLimit', message: 'expected number <= 512' }, { location: 'body.labels', message: 'too many' }, { location: 'query.x', message: 'no' }])).toEqual({ cpuLimit: 'expected number <= 512', labels: 'too many' })
    expect(placesOf(undefined)).toEqual({})
  })
})
