import { isLogKey, isWitnessKey, parseVerifierKey, type VerifierKey } from './keys.ts'
import { decimal } from './lines.ts'

/** Whose signatures make a checkpoint good (C2SP tlog-policy). */
export type Policy = {
  readonly logs: readonly { readonly key: VerifierKey; readonly url: string | null }[]
  readonly witnesses: readonly PolicyWitness[]
  /** In the order of their lines: members come before the groups that they are in. */
  readonly groups: readonly Group[]
  /** A witness, a group, or `none`: no witness is needed. */
  readonly quorum: string
}

export type PolicyWitness = {
  readonly name: string
  readonly key: VerifierKey
  /** Where it takes checkpoints. */
  readonly url: string | null
}

/** It has witnessed what at least `needed` of its members have. */
type Group = { readonly name: string; readonly needed: number; readonly members: readonly string[] }

/** What is wrong with a policy, and in which line (from 1 on; null: in none). */
export class PolicyError extends Error {
  readonly line: number | null

  constructor(what: string, line: number | null = null) {
    super(line === null ? `Policy: ${what}` : `Policy, line ${line}: ${what}`)
    this.name = 'PolicyError'
    this.line = line
  }
}

const NONE = 'none'

/** In a text of one line, as a setting is, `;` ends a line too. Error: PolicyError. */
export function readPolicy(text: string): Policy {
  const draft: Draft = { logs: [], witnesses: [], groups: [], quorum: null, publicKeys: new Set() }
  linesOf(text).forEach((line, at) => {
    const fault = addLine(draft, line)
    if (fault !== null) throw new PolicyError(fault, at + 1)
  })
  const { logs, witnesses, groups, quorum } = draft
  if (quorum === null) throw new PolicyError('it has no line `quorum`')
  return { logs, witnesses, groups, quorum }
}

function linesOf(text: string): readonly string[] {
  const isOneLine = !text.trim().includes('\n')
  return text.split(isOneLine ? /[\n;]/ : '\n')
}

type Draft = {
  readonly logs: { key: VerifierKey; url: string | null }[]
  readonly witnesses: PolicyWitness[]
  readonly groups: Group[]
  quorum: string | null
  /** Of all logs and witnesses: nobody may count twice. */
  readonly publicKeys: Set<string>
}

/** What is wrong with the line, or null. */
function addLine(draft: Draft, line: string): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a policy must not have.
  if (/[\0-\x08\x0a-\x1f\x7f]/.test(line)) return 'it has a control character'
  const [keyword = '', ...words] = line.split(/[ \t]+/).filter((word) => word !== '')
  if (keyword === '' || keyword.startsWith('#')) return null
  if (keyword === 'log') return addLog(draft, words)
  if (keyword === 'witness') return addWitness(draft, words)
  if (keyword === 'group') return addGroup(draft, words)
  if (keyword === 'quorum') return setQuorum(draft, words)
  return `it begins with none of log, witness, group and quorum: ${JSON.stringify(keyword)}`
}

function addLog(draft: Draft, [text, url, ...more]: readonly string[]): string | null {
  const key = parseVerifierKey(text ?? '')
  if (more.length > 0) return 'a log has a key and at most one URL'
  if (!key || !isLogKey(key)) return 'its key is not the verifier key of a log'
  draft.logs.push({ key, url: url ?? null })
  return takeKey(draft, key)
}

function addWitness(draft: Draft, words: readonly string[]): string | null {
  const [name = '', text = '', url, ...more] = words
  const key = parseVerifierKey(text)
  if (more.length > 0) return 'a witness has a name, a key and at most one URL'
  if (!key || !isWitnessKey(key)) return 'its key is not the verifier key of a witness'
  const fault = faultOfNewName(draft, name)
  draft.witnesses.push({ name, key, url: url ?? null })
  return fault ?? takeKey(draft, key)
}

function takeKey({ publicKeys }: Draft, { publicKey }: VerifierKey): string | null {
  const text = publicKey.export({ format: 'der', type: 'spki' }).toString('hex')
  if (publicKeys.has(text)) return 'another line has the same public key'
  publicKeys.add(text)
  return null
}

const isDefined = ({ witnesses, groups }: Draft, name: string) =>
  [...witnesses, ...groups].some((each) => each.name === name)

const faultOfNewName = (draft: Draft, name: string) =>
  name === NONE || isDefined(draft, name) ? `the name ${JSON.stringify(name)} is taken` : null

function addGroup(draft: Draft, [name = '', least = '', ...members]: readonly string[]) {
  const needed = neededOf(least, members.length)
  if (needed === null)
    return 'a group has a name, then all, any or how many are needed, and members'
  const fault = faultOfNewName(draft, name) ?? faultOfMembers(draft, members)
  draft.groups.push({ name, needed, members })
  return fault
}

function neededOf(text: string, members: number): number | null {
  const needed = text === 'all' ? members : text === 'any' ? 1 : decimal(text)
  return needed !== null && needed >= 1 && needed <= members ? needed : null
}

function faultOfMembers(draft: Draft, members: readonly string[]): string | null {
  const taken = new Set(draft.groups.flatMap((group) => group.members))
  for (const member of members) {
    const name = JSON.stringify(member)
    if (!isDefined(draft, member)) return `no line before it defines ${name}`
    if (taken.has(member)) return `${name} is a member already`
    taken.add(member)
  }
  return null
}

function setQuorum(draft: Draft, [name = '', ...more]: readonly string[]): string | null {
  if (name === '' || more.length > 0) return 'a quorum is one name'
  if (draft.quorum !== null) return 'there is a quorum already'
  if (name !== NONE && !isDefined(draft, name)) {
    return `no line before it defines ${JSON.stringify(name)}`
  }
  draft.quorum = name
  return null
}

/**
 * Whether enough witnesses are among these keys, which `verifiedBy` found on a checkpoint. That one of
 * the policy's logs signed it is another question.
 */
export function isMet(policy: Policy, keys: readonly VerifierKey[]): boolean {
  const signed = new Set(keys.map(({ text }) => text))
  const witnesses = policy.witnesses.filter(({ key }) => signed.has(key.text))
  const met = new Set([NONE, ...witnesses.map(({ name }) => name)])
  for (const { name, needed, members } of policy.groups) {
    if (members.filter((member) => met.has(member)).length >= needed) met.add(name)
  }
  return met.has(policy.quorum)
}
