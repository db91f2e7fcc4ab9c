import { expect } from 'chai'
import { eventEntry, recordsEntry } from '../../src/verifier/entries.ts'

const HASH = '0123456789abcdef'.repeat(4)

describe('What a leaf of the log is the hash of', () => {
  it('is an event’s hash and place, in the one form that never changes', () => {
    const event = { version: 2, stream_id: 'task-3', position: 17, hash: HASH, type: 'TaskRenamed' }
    expect(eventEntry(event)).to.equal(
      `{"hash":"${HASH}","position":17,"stream_id":"task-3","version":2}`,
    )
  })

  it('or how far the accesses and security events go, and their digest', () => {
    const records = { security_events: 9, marks: 'x', digest: HASH, audit_accesses: 5 }
    expect(recordsEntry(records)).to.equal(
      `{"audit_accesses":5,"digest":"${HASH}","security_events":9}`,
    )
  })
})
