import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { SECURITY_EVENT_TYPES } from '../../src/app/security-event-types.ts'

const sourcesIn = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(directory, name), 'utf8'))

/** The types that statements name which write to the record: those of their fifth value. */
function writtenIn(source: string): readonly string[] {
  const ours =
    /\$\{RECORD\}\s*(?:select|values \()\s*\$1, \$2, \$3, \$4(?:::timestamptz)?,\s*'(\w+)'/g
  const inFunctions =
    /insert into security_events\s*\([^)]*\)\s*(?:values\s*\(|select)\s*[^,]+,[^,]+,[^,]+,[^,]+,\s*'(\w+)'/g
  return [ours, inFunctions].flatMap((pattern) =>
    [...source.matchAll(pattern)].map(([, type]) => type ?? ''),
  )
}

describe('The types of security events', () => {
  it('that statements write are all in the list, so that each has a mail or none', () => {
    const written = ['src/infra/postgres', 'db/migrations'].flatMap(sourcesIn).flatMap(writtenIn)
    expect(written.length).to.be.greaterThan(10)
    expect(SECURITY_EVENT_TYPES).to.include.members([...new Set(written)])
  })
})
